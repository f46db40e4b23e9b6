use serde_json::json;

use super::*;

/// What the templates below are run over.
fn container() -> Value {
    json!({
        "Id": "abc", "Name": "/n1", "RestartCount": 3, "Args": ["a", "b c"],
        "State": {"Status": "running", "Running": true, "Paused": false, "Pid": 42, "ExitCode": 0},
        "Config": {"Env": ["A=1", "B=2"], "Cmd": null, "Labels": {"x": "1", "com.b": "two"}, "Image": "busybox"},
        "HostConfig": {"NanoCpus": 1_500_000_000, "Memory": 0},
        "NetworkSettings": {"Networks": {"net": {"IPAddress": "1.2.3.4"}}},
    })
}

fn render(template: &str) -> Result<String, TemplateError> {
    Template::parse(template)?.render(&container())
}

/// Compared with `docker inspect --format` of 28.2.2 and 20.10.24 over the same data (`else with` is 28's alone).
const RENDERED: &[(&str, &str)] = &[
    ("{{.Name}}", "/n1"),
    ("{{ .Name }}", "/n1"),
    ("{{.State.Pid}} {{.State.Running}} {{.RestartCount}}", "42 true 3"),
    (r#"{{.Config.Labels.foo}}|{{.Config.Labels.x}}|{{index .Config.Labels "nope"}}|"#, "<no value>|1||"),
    ("{{.NetworkSettings.Networks.foo.IPAddress}}", "<no value>"),
    ("{{.NetworkSettings.Networks.net.IPAddress}}", "1.2.3.4"),
    (r#"{{(index .NetworkSettings.Networks "net").IPAddress}}"#, "1.2.3.4"),
    ("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "1.2.3.4"),
    ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "com.b=two;x=1;"),
    ("{{range $v := .Config.Labels}}{{$v}};{{end}}", "two;1;"),
    ("{{range $i, $e := .Args}}{{if $i}}, {{end}}{{$i}}:{{$e}}{{end}}", "0:a, 1:b c"),
    ("{{range .Args}}<{{.}}>{{else}}none{{end}}", "<a><b c>"),
    ("{{range .Config.Cmd}}<{{.}}>{{else}}none{{end}}", "none"),
    ("{{range .Args}}{{$.Name}}{{end}}", "/n1/n1"),
    ("{{with .Name}}[{{.}}]{{end}}{{with .HostConfig.Memory}}[{{.}}]{{else}}zero{{end}}", "[/n1]zero"),
    ("{{with $x := .Name}}{{$x}}{{end}}", "/n1"),
    ("{{with .HostConfig.Memory}}a{{else with .Name}}b{{.}}{{end}}", "b/n1"),
    ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
    ("{{if .State.Paused}}a{{else if .State.Running}}b{{else}}c{{end}}", "b"),
    ("{{if not .State.Paused}}yes{{end}}", "yes"),
    (r#"{{if and .State.Running (eq .State.Status "running")}}yes{{end}}"#, "yes"),
    (r#"{{and 1 0 2}} {{or 0 "" "x"}} {{or 0 ""}}| {{and 1 2}}"#, "0 x | 2"),
    (
        r#"{{eq .State.Status "a" "running"}} {{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{gt 1.5 1.0}} {{ge "a" "b"}}"#,
        "true true true true true false",
    ),
    ("{{gt .State.Pid 41}} {{eq .State.Pid 42}} {{eq 0x2a .State.Pid}} {{eq -1 1}}", "true true true false"),
    ("{{eq true true}} {{eq 1 nil}}", "true false"),
    (r#"{{len .Name}} {{len .Args}} {{len .Config.Labels}} {{len "é"}}"#, "3 2 2 2"),
    ("{{index .Args 1}} {{index .Args 0 0}}", "b c 97"),
    (r#"{{index .Config.Labels "com.b"}}"#, "two"),
    (r#"{{slice "abcdef" 1 3}} {{slice "abc" 1}} {{slice .Args 1}} {{slice .Name 1}}"#, "bc bc [b c] n1"),
    (r#"{{$x := .Name}}{{$x}} {{$x = "b"}}{{$x}}"#, "/n1 b"),
    ("{{$x := 1}}{{range .Args}}{{$x = .}}{{end}}{{$x}}", "b c"),
    ("{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"),
    ("{{$s := .State}}{{$s.Pid}} {{$.Name}}", "42 /n1"),
    (r#"{{.Name | upper}} {{.Name | printf "%s-%s" "a"}} {{"x" | printf "%s"}}"#, "/N1 a-/n1 x"),
    (
        r#"{{join .Args ","}} {{join .Config.Env "\n"}} {{split "a,b" ","}} {{index (split "a:b:c" ":") 1}} {{join (split "abc" "") "-"}}"#,
        "a,b c A=1\nB=2 [a b] b a-b-c",
    ),
    (
        r#"{{upper "abc"}} {{lower "ABC"}} {{title "ab cd-ef"}} {{pad "x" 2 3}}| {{pad "" 2 3}}| {{truncate "hello" 2}} {{truncate "hi" 5}} {{truncate "hi" 2}}"#,
        "ABC abc Ab Cd-Ef   x   | | he hi hi",
    ),
    (
        r#"{{print 1 2 "a" 3 4 true false}}|{{println 1 "a"}}|{{print nil}}|{{print}}|{{print "a" "b"}}|{{println}}"#,
        "1 2a3 4 true false|1 a\n|<nil>||ab|\n",
    ),
    ("{{print .Args .Config.Labels}} {{println .Args 1}}", "[a b c] map[com.b:two x:1] [a b c] 1\n"),
    (
        r#"{{printf "%s|%5s|%-5s|%d|%v|%q|%05d|%x" .Name "ab" "ab" .State.Pid .Config.Env "a\tb" 42 "hi"}}"#,
        r#"/n1|   ab|ab   |42|[A=1 B=2]|"a\tb"|00042|6869"#,
    ),
    (
        r#"{{printf "%d %s %z" "x" 5 6}}{{printf "%s"}}{{printf "a" 1 2.5}}{{printf "%"}}{{printf "%s %d" nil .Args}}"#,
        "%!d(string=x) %!s(int=5) %!z(int=6)%!s(MISSING)a%!(EXTRA int=1, float64=2.5)%!(NOVERB)%!s(<nil>) [%!d(string=a) %!d(string=b c)]",
    ),
    (
        r#"{{printf "%v %v %v %v" 1.5 true nil .Config.Labels}} {{printf "%t %t" true "x"}} {{printf "%%"}} {{printf "%5d|%-5d|%+d|% d|%x|%X" 42 42 42 42 255 255}}"#,
        "1.5 true <nil> map[com.b:two x:1] true %!t(string=x) %    42|42   |+42| 42|ff|FF",
    ),
    (
        r#"{{printf "%f %.2f %8.3f %e %g %.3g %v %08.2f %-8.1f|" 1.5 1.255 3.14159 1234.5 1e21 1234.5 1e20 -3.14159 2.55}}"#,
        "1.500000 1.25    3.142 1.234500e+03 1e+21 1.23e+03 1e+20 -0003.14 2.5     |",
    ),
    (
        r#"{{printf "%.2s|%6.2s|%.1q|%q|%6q" "héllo" "abc" "abc" .Args "a"}} {{printf "%q" "a\"\\\x01\u00e9\u200b"}}"#,
        r#"hé|    ab|"a"|["a" "b c"]|   "a" "a\"\\\x01é\u200b""#,
    ),
    (
        r#"{{printf "%s" true}} {{printf "%d" 1.5}} {{printf "%v" .Config.Env}} {{printf "%s" .Config.Labels}} {{printf "%x" .Args}} {{printf "%5s" .Args}} {{printf "%5v" true}} {{printf "%05s" "a"}}"#,
        "%!s(bool=true) %!d(float64=1.5) [A=1 B=2] map[com.b:two x:1] [61 622063] [    a   b c]  true 0000a",
    ),
    ("{{.Config.Labels}}{{.Config.Env}}{{.Args}}", "map[com.b:two x:1][A=1 B=2][a b c]"),
    (
        r#"{{1}} {{1.5}} {{"a\tb"}} {{`r\aw`}} {{true}} {{-3}} {{+3}} {{1e3}} {{1e21}} {{0.000001}} {{.5}}"#,
        "1 1.5 a\tb r\\aw true -3 3 1000 1e+21 1e-06 0.5",
    ),
    (r#"a {{- 1 -}} b  {{- "x" }} c"#, "a1bx c"),
    ("a {{- /* c */ -}} b {{/* d */}}e", "ab e"),
    ("{{/* c */ -}} b", "b"),
    ("{{-3}}", "-3"),
    ("{{print (print 1) (print 2)}}", "12"),
    (r#"\t{{.Name}}\n"#, r#"\t/n1\n"#),
    ("}}{{1}}{", "}}1{"),
    (r#"{{if eq .Name "/n1"}}{{"{{"}}{{end}}"#, "{{"),
    ("{{with .Args}}{{.}}{{end}}", "[a b c]"),
    ("{{with $.Config}}{{.Image}}{{end}}", "busybox"),
    ("{{index .Name 0}}", "47"),
    ("{{index .Args}}", "[a b c]"),
    ("{{(.Name)}}", "/n1"),
    ("{{(.State).Pid}}", "42"),
    (r#"{{"a"|upper}}"#, "A"),
    ("{{if $x := .Name}}{{$x}}{{end}}", "/n1"),
    (
        r#"{{1234567.0}} {{123456.0}} {{1000000.0}} {{printf "%v %g" 1234567.5 0.00001}} {{printf "%.2g" 100.0}}"#,
        "1.234567e+06 123456 1e+06 1.2345675e+06 1e-05 1e+02",
    ),
    ("{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}", "none"),
    (
        r#"{{printf "%6.2f|%+d|%+.1f|%06d|%-6d|% d" 3.14159 5 2.0 -42 7 9}}"#,
        "  3.14|+5|+2.0|-00042|7     | 9",
    ),
    (r#"{{printf "%v|%10v|%-10v|" .Args "ab" "cd"}}"#, "[a b c]|        ab|cd        |"),
    (r#"{{range $i, $a := split "x,y" ","}}{{$i}}{{$a}} {{end}}"#, "0x 1y "),
    (r#"{{range split .Name "1"}}[{{.}}]{{end}}"#, "[/n][]"),
    ("{{- range $k, $v := .Config.Labels -}} {{$k}} {{- end -}}", "com.bx"),
    (r#"{{with index .Config.Labels "x"}}x={{.}}{{end}}"#, "x=1"),
    (r#"{{title "hello wörld foo_bar don't"}}"#, "Hello Wörld Foo_bar Don'T"),
    ("{{.Args|json|len}}", "11"),
    (r#"{{$m := .Config.Labels}}{{index $m "x"}}{{$m.x}}"#, "11"),
    ("{{if and (gt .RestartCount 2) (not .State.Paused) (or false .State.Running)}}ok{{end}}", "ok"),
    (
        r#"{{range .Config.Env}}{{with $p := split . "="}}{{index $p 0}}->{{index $p 1}};{{end}}{{end}}"#,
        "A->1;B->2;",
    ),
];

/// Of the same two: what stands behind `template: :1:`, and the exit code.
const REFUSED: &[(&str, u8, &str)] = &[
    ("{{.Foo}}", 1, r#"2: executing "" at <.Foo>: map has no entry for key "Foo""#),
    ("{{.foo}}", 1, r#"2: executing "" at <.foo>: map has no entry for key "foo""#),
    ("{{.State.Foo}}", 1, r#"8: executing "" at <.State.Foo>: map has no entry for key "Foo""#),
    ("{{.State.Foo.Bar}}", 1, r#"8: executing "" at <.State.Foo.Bar>: map has no entry for key "Foo""#),
    (
        "{{.RestartCount}}{{.State.Foo.Bar}}",
        1,
        r#"25: executing "" at <.State.Foo.Bar>: map has no entry for key "Foo""#,
    ),
    ("{{range .Name}}x{{end}}", 1, r#"8: executing "" at <.Name>: range can't iterate over /n1"#),
    (
        "{{eq 1 1.0}}",
        1,
        r#"2: executing "" at <eq 1 1.0>: error calling eq: incompatible types for comparison"#,
    ),
    (
        r#"{{lt 1 "a"}}"#,
        1,
        r#"2: executing "" at <lt 1 "a">: error calling lt: incompatible types for comparison"#,
    ),
    (
        "{{lt true false}}",
        1,
        r#"2: executing "" at <lt true false>: error calling lt: invalid type for comparison"#,
    ),
    ("{{eq 1}}", 1, r#"2: executing "" at <eq 1>: error calling eq: missing argument for comparison"#),
    ("{{len 3}}", 1, r#"2: executing "" at <len 3>: error calling len: len of type int"#),
    (
        "{{index .Args 5}}",
        1,
        r#"2: executing "" at <index .Args 5>: error calling index: index out of range: 5"#,
    ),
    (
        "{{index .Args -1}}",
        1,
        r#"2: executing "" at <index .Args -1>: error calling index: index out of range: -1"#,
    ),
    (
        r#"{{index .Args "a"}}"#,
        1,
        r#"2: executing "" at <index .Args "a">: error calling index: cannot index slice/array with type string"#,
    ),
    (
        "{{index .Config.Labels 1}}",
        1,
        r#"2: executing "" at <index .Config.Labels 1>: error calling index: value has type int; should be string"#,
    ),
    (
        r#"{{slice "abc" 2 5}}"#,
        1,
        r#"2: executing "" at <slice "abc" 2 5>: error calling slice: index out of range: 5"#,
    ),
    (
        r#"{{slice "abc" 2 1}}"#,
        1,
        r#"2: executing "" at <slice "abc" 2 1>: error calling slice: invalid slice index: 2 > 1"#,
    ),
    ("{{nil}}", 1, r#"2: executing "" at <nil>: nil is not a command"#),
    ("{{/* c }}", 64, " unclosed comment"),
    ("{{/* c */ x}}", 64, " comment ends before closing delimiter"),
    (" {{/* a */ }}", 64, " comment ends before closing delimiter"),
    ("{{", 64, " unclosed action"),
    ("{{}}", 64, " missing value for command"),
    ("{{ }}", 64, " missing value for command"),
    ("{{foo}}", 64, r#" function "foo" not defined"#),
    ("{{if .Foo", 64, " unclosed action"),
    ("{{if .State.Running}}x", 64, " unexpected EOF"),
    ("{{if}}x{{end}}", 64, " missing value for if"),
    ("{{range}}x{{end}}", 64, " missing value for range"),
    ("{{end}}", 64, " unexpected {{end}}"),
    ("{{else}}", 64, " unexpected {{else}}"),
    ("{{if 1}}{{else}}{{else}}{{end}}", 64, " expected end; found {{else}}"),
    ("{{$x}}", 64, r#" undefined variable "$x""#),
    (r#"{{.Name "a"}}"#, 1, r#"2: executing "" at <.Name>: Name is not a method but has arguments"#),
    (r#"{{"a" 1}}"#, 1, r#"2: executing "" at <"a">: can't give argument to non-function "a""#),
    (r#"{{"a" | "b"}}"#, 64, " non executable command in pipeline stage 2"),
    ("{{.Name | nope}}", 64, r#" function "nope" not defined"#),
    ("{{upper}}", 1, r#"2: executing "" at <upper>: wrong number of args for upper: want 1 got 0"#),
    (
        r#"{{upper "a" "b"}}"#,
        1,
        r#"2: executing "" at <upper>: wrong number of args for upper: want 1 got 2"#,
    ),
    (
        r#"{{join .Name ","}}"#,
        1,
        r#"7: executing "" at <.Name>: wrong type for value; expected []string; got string"#,
    ),
    ("{{join .Args}}", 1, r#"2: executing "" at <join>: wrong number of args for join: want 2 got 1"#),
    (
        "{{range .State.Running}}x{{end}}",
        1,
        r#"14: executing "" at <.State.Running>: range can't iterate over true"#,
    ),
    (r#"{{(upper "a"}}"#, 64, " unclosed left paren"),
    (r#"{{upper "a")}}"#, 64, " unexpected right paren"),
    (r#"{{"abc}}"#, 64, " unterminated quoted string"),
    ("{{`abc}}", 64, " unterminated raw quoted string"),
    ("{{.Name@}}", 64, " bad character U+0040 '@'"),
    ("{{foo-bar}}", 64, " bad character U+002D '-'"),
    ("{{.Config.Labels.com-b}}", 64, " bad character U+002D '-'"),
    (r#"{{"a""b"}}"#, 64, r#" unexpected "\"b\"" in operand"#),
    (r#"{{.Name"b"}}"#, 64, r#" bad character U+0022 '"'"#),
    (r#"{{"a".Name}}"#, 64, r#" unexpected . after term "\"a\"""#),
    ("{{print upper}}", 1, r#"8: executing "" at <upper>: wrong number of args for upper: want 1 got 0"#),
    ("{{$x, $y := 1}}", 64, " too many declarations in command"),
    ("{{range $a, $b, $c := .Args}}{{end}}", 64, " too many declarations in range"),
    ("{{print $x := 1}}", 64, r#" undefined variable "$x""#),
    ("{{ .Config .Labels }}", 1, r#"3: executing "" at <.Config>: Config is not a method but has arguments"#),
    ("{{not}}", 1, r#"2: executing "" at <not>: wrong number of args for not: want 1 got 0"#),
    ("{{not 1 2}}", 1, r#"2: executing "" at <not>: wrong number of args for not: want 1 got 2"#),
    ("{{and}}", 1, r#"2: executing "" at <and>: wrong number of args for and: want at least 1 got 0"#),
    (
        "{{printf}}",
        1,
        r#"2: executing "" at <printf>: wrong number of args for printf: want at least 1 got 0"#,
    ),
    (
        "{{index 1 2}}",
        1,
        r#"2: executing "" at <index 1 2>: error calling index: can't index item of type int"#,
    ),
    (
        r#"{{eq "a" "b" 3}}"#,
        1,
        r#"2: executing "" at <eq "a" "b" 3>: error calling eq: incompatible types for comparison"#,
    ),
    ("{{lt 1 2 3}}", 1, r#"2: executing "" at <lt>: wrong number of args for lt: want 2 got 3"#),
    ("{{print(1)}}", 64, r#" unexpected "(" in operand"#),
    ("{{.Name:}}", 64, " expected :="),
    ("{{.Name,}}", 64, r#" unexpected "," in operand"#),
    ("{{1,2}}", 64, r#" unexpected "," in operand"#),
    ("{{range $i := .Args}}{{$i}}{{end}}{{$i}}", 64, r#" undefined variable "$i""#),
];

#[test]
fn templates_render_as_dockers() {
    for (template, expected) in RENDERED {
        assert_eq!(render(template).as_deref(), Ok(*expected), "{template}");
    }
}

#[test]
fn mistakes_are_told_in_dockers_words_with_its_exit_codes() {
    for (template, code, expected) in REFUSED {
        let error = render(template).expect_err(template);
        assert_eq!(
            error.to_string(),
            format!("template parsing error: template: :1:{expected}"),
            "{template}"
        );
        assert_eq!(error.inspect_exit_code(), *code, "{template}");
    }
}

/// What docker knows of types and JSON does not, and what is left out.
#[test]
fn where_types_would_tell_more_the_rules_of_the_module_hold() {
    for (template, expected) in [
        (
            "{{range .Config.Cmd}}x{{else}}none{{end}} {{len .Config.Cmd}} {{join .Config.Cmd \",\"}}",
            "none 0 ",
        ),
        ("{{.Config.Cmd}} {{.Config.Cmd.Foo.bar}}", "<no value> <no value>"),
        ("{{.State.Health}} {{with .State.Health}}{{.Status}}{{end}}", "<no value> "),
        ("{{index .NetworkSettings.Networks \"other\"}}", "<no value>"),
        ("{{.State}}", "map[ExitCode:0 Paused:false Pid:42 Running:true Status:running]"),
    ] {
        assert_eq!(render(template).as_deref(), Ok(expected), "{template}");
    }
    for (template, expected) in [
        ("{{.Config.Nope}}", "executing \"\" at <.Config.Nope>: map has no entry for key \"Nope\""),
        ("{{upper .State.Pid}}", "expected string; got int"),
        ("{{$x = 1}}", "undefined variable \"$x\""),
        ("{{define \"a\"}}{{end}}", "define is not supported"),
        ("{{printf \"%[1]d\" 1}}", "'[' after % is not supported"),
    ] {
        let error = render(template).expect_err(template).to_string();
        assert!(error.ends_with(expected), "{template}: {error}");
    }
}

#[test]
fn json_keeps_the_order_of_fields_and_lists_are_sorted_only_when_ranged_over() {
    let data = json!({"Z": {"b": 1, "a": "<&>"}});
    let template = Template::parse("{{json .}} {{.Z}} {{range $k, $_ := .Z}}{{$k}}{{end}}").unwrap();
    assert_eq!(template.render(&data).unwrap(), r#"{"Z":{"b":1,"a":"<&>"}} map[a:<&> b:1] ab"#);
}

#[test]
fn the_line_of_a_mistake_is_told() {
    let error = |template: &str| render(template).unwrap_err().to_string();
    assert!(error("a\n{{foo}}").starts_with("template parsing error: template: :2: "));
    assert!(error("a\nbc{{.Foo}}").starts_with("template parsing error: template: :2:4: executing"));
}

#[test]
fn text_of_the_data_is_escaped_for_a_terminal_and_text_of_the_template_is_not() {
    let data = json!({"a": "x\u{1b}[2j\ny", "l": ["\u{202e}"], "m": {"k\n": 1}});
    let shown = |template: &str| Template::parse(template).and_then(|t| t.render_escaped(&data)).unwrap();
    let escaped = r"x\u{1b}[2j\ny";
    for template in [
        "{{.a}}",
        "{{print .a}}",
        "{{printf \"%s\" .a}}",
        "{{$x := .a}}{{$x}}",
        "{{slice .a 0}}",
        "{{lower .a}}",
        "{{join (split .a \"|\") \"\"}}",
        "{{truncate .a 100}}",
        "{{or .a 1}}",
        "{{index . \"a\"}}",
    ] {
        assert_eq!(shown(template), escaped, "{template}");
    }
    assert_eq!(shown("{{.l}} {{join .l \",\"}} {{slice .l 0}}"), r"[\u{202e}] \u{202e} [\u{202e}]");
    assert_eq!(shown("{{.m}} {{range $k, $v := .m}}{{$k}}{{end}}"), r"map[k\n:1] k\n");
    assert_eq!(shown("{{json .l}}"), r#"["\u202e"]"#);
    assert_eq!(shown("{{range .l}}{{println \"\\t\"}}{{end}}"), "\t\n");
    let raw = Template::parse("{{.a}}").unwrap().render(&data).unwrap();
    assert_eq!(raw, "x\u{1b}[2j\ny");
}

#[test]
fn nesting_steps_and_text_are_limited() {
    let nested = |depth: usize| format!("{}{}", "{{if 1}}".repeat(depth), "{{end}}".repeat(depth));
    assert!(render(&nested(30)).is_ok());
    assert!(render(&nested(100_000)).unwrap_err().to_string().contains("within each other"));
    let parentheses = format!("{{{{{}1{}}}}}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(render(&parentheses).unwrap_err().to_string().contains("within each other"));

    let limit = |template: &str| matches!(render(template), Err(TemplateError::Limit(_)));
    assert!(limit(r#"{{pad "x" 1000000000000 1}}"#));
    assert!(limit(&format!("{{{{$x := \"0123456789abcdef\"}}}}{}", "{{$x = print $x $x}}".repeat(30))));
    let ranges = r#"{{range $l}}"#.repeat(8);
    let ends = "{{end}}".repeat(8);
    assert!(limit(&format!("{{{{$l := split \"aaaaaaaaaaaaaaaaaaaaaaaa\" \"\"}}}}{ranges}{ends}")));
    assert!(limit(&"{{printf \"%1000000d\" 1}}".repeat(17)));
}

proptest::proptest! {
    #[test]
    fn any_text_renders_or_is_refused(
        parts in proptest::collection::vec(proptest::sample::select(PARTS), 0..24),
        noise in ".{0,8}",
    ) {
        let text = parts.concat();
        let cut = text.char_indices().nth(text.len() / 2).map_or(text.len(), |(at, _)| at);
        for template in [text.clone(), text[..cut].to_string(), format!("{}{noise}{}", &text[..cut], &text[cut..])] {
            let _ = render(&template);
        }
    }
}

const PARTS: &[&str] = &[
    "{{",
    "}}",
    "{{- ",
    " -}}",
    "{{/*",
    "*/",
    "if ",
    "range ",
    "with ",
    "else ",
    "{{end}}",
    "{{else}}",
    "$x",
    " := ",
    " = ",
    ", ",
    " | ",
    "(",
    ")",
    ".",
    ".Args",
    ".State",
    ".Config.Labels",
    " ",
    "1",
    "-3.5e1",
    "\"a\\x41é\"",
    "`r`",
    "nil ",
    "true ",
    "printf ",
    "\"%5.2v|%q\" ",
    "index ",
    "slice ",
    "split ",
    "join ",
    "truncate ",
    "pad ",
    "eq ",
    "lt ",
    "len ",
    "json ",
    "print ",
    "and ",
    "or ",
    "not ",
    "title ",
    "\n",
    "é",
    "text",
];

#[test]
fn fields_that_are_asked_for_are_known() {
    let template = Template::parse("{{if .A}}{{$x := .B.C}}{{(print $x.D).E}}{{end}}").unwrap();
    assert!(["A", "B", "C", "D", "E"].iter().all(|field| template.mentions(field)));
    assert!(!template.mentions("Size"));
}

#[test]
fn the_help_text_names_every_function() {
    for (name, _) in ast::Function::ALL {
        assert!(SUBSET.split(|c: char| !c.is_alphanumeric()).any(|word| word == name), "{name}");
    }
}
