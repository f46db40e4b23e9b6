//! URLs relative to others (RFC 3986, 5), as far as registries use them.

use ureq::http::Uri;

/// The URL that `reference` means on the page `base`. Fragments are dropped. `None` for what is no URL, or
/// has a user in it.
pub fn join(base: &Uri, reference: &str) -> Option<Uri> {
    let reference = reference.split('#').next().unwrap_or_default();
    let (scheme, authority) = (base.scheme_str()?, base.authority()?.as_str());
    let text = if has_scheme(reference) {
        reference.to_owned()
    } else if reference.starts_with("//") {
        format!("{scheme}:{reference}")
    } else if reference.starts_with('/') {
        format!("{scheme}://{authority}{reference}")
    } else if reference.starts_with('?') {
        format!("{scheme}://{authority}{}{reference}", base.path())
    } else {
        let (folder, _) = base.path().rsplit_once('/').unwrap_or_default();
        format!("{scheme}://{authority}{}", without_dots(folder, reference))
    };
    let url: Uri = text.parse().ok()?;
    let authority = url.authority()?;
    let is_whole = url.scheme().is_some() && !authority.host().is_empty();
    (is_whole && !authority.as_str().contains('@')).then_some(url)
}

/// A path from a folder on, its `.` and `..` resolved (RFC 3986, 5.2.4). The query stays as it is.
fn without_dots(folder: &str, reference: &str) -> String {
    let (path, query) = reference.split_at(reference.find('?').unwrap_or(reference.len()));
    let mut segments: Vec<&str> = folder.split('/').skip(1).collect();
    let mut ends_in_folder = false;
    for segment in path.split('/') {
        ends_in_folder = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    let end = if ends_in_folder && !segments.is_empty() { "/" } else { "" };
    format!("/{}{end}{query}", segments.join("/"))
}

fn has_scheme(reference: &str) -> bool {
    let (scheme, _) = reference.split_once(':').unwrap_or_default();
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_joined_as_the_rfc_says() {
        let base: Uri = "https://r.example:5000/v2/a/blobs/uploads/?x=1".parse().unwrap();
        let joined = |reference| join(&base, reference).map(|url| url.to_string());
        let cases = [
            ("https://cdn.example/x?sig=1#part", Some("https://cdn.example/x?sig=1")),
            ("//cdn.example/x", Some("https://cdn.example/x")),
            ("/v2/a/1?state=2", Some("https://r.example:5000/v2/a/1?state=2")),
            ("1?state=2", Some("https://r.example:5000/v2/a/blobs/uploads/1?state=2")),
            ("../../x/./y?z=../a", Some("https://r.example:5000/v2/a/x/y?z=../a")),
            ("../../../../../..", Some("https://r.example:5000/")),
            ("?y", Some("https://r.example:5000/v2/a/blobs/uploads/?y")),
            ("https://me@cdn.example/", None),
            ("http:", None),
            ("file:/etc/passwd", None),
            ("https://x y/", None),
        ];
        for (reference, expected) in cases {
            assert_eq!(joined(reference).as_deref(), expected, "{reference}");
        }
        assert_eq!(joined("file:///etc/passwd"), None);
    }
}
