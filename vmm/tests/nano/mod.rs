//! ELF kernels of a few instructions.

/// Where the code is loaded and entered.
const ENTRY: u64 = 0x20_0000;

/// What the guest does.
#[derive(Clone, Copy)]
pub enum Guest {
    /// Resets the machine by way of the keyboard controller.
    Reset,
    /// The same, after setting the BIOS warm-boot flag.
    Panic,
    /// Interrupts without an IDT.
    TripleFault,
    /// Writes "hi" to the serial port, then resets.
    SayHello,
    /// Writes lines to the serial port for ever.
    TalkOn,
    /// Never leaves.
    Spin,
}

impl Guest {
    fn code(self) -> Vec<u8> {
        // mov al, 0xfe; out 0x64, al; jmp to itself
        let reset = [0xb0, 0xfe, 0xe6, 0x64, 0xeb, 0xfe];
        match self {
            Guest::Reset => reset.into(),
            // mov word ptr [0x472], 0x1234
            Guest::Panic => [&[0x66, 0xc7, 0x04, 0x25, 0x72, 0x04, 0, 0, 0x34, 0x12][..], &reset].concat(),
            // ud2
            Guest::TripleFault => vec![0x0f, 0x0b],
            // mov dx, 0x3f8; mov al, 'h'; out dx, al; mov al, 'i'; out dx, al
            Guest::SayHello => {
                [&[0x66, 0xba, 0xf8, 0x03, 0xb0, b'h', 0xee, 0xb0, b'i', 0xee][..], &reset].concat()
            }
            // mov dx, 0x3f8; mov al, '\n'; out dx, al; jmp to the out
            Guest::TalkOn => vec![0x66, 0xba, 0xf8, 0x03, 0xb0, b'\n', 0xee, 0xeb, 0xfd],
            Guest::Spin => vec![0xeb, 0xfe],
        }
    }

    /// One program header, one segment (System V ABI, chapters 4 and 5).
    pub fn elf(self) -> Vec<u8> {
        const HEADERS: u64 = 64 + 56;
        let code = self.code();
        let len = code.len() as u64;
        let mut image = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        for half in [2_u16, 62] {
            image.extend(half.to_le_bytes());
        }
        image.extend(1_u32.to_le_bytes());
        for word in [ENTRY, 64, 0] {
            image.extend(word.to_le_bytes());
        }
        image.extend(0_u32.to_le_bytes());
        for half in [64_u16, 56, 1, 0, 0, 0] {
            image.extend(half.to_le_bytes());
        }
        for half in [1_u32, 5] {
            image.extend(half.to_le_bytes());
        }
        for word in [HEADERS, ENTRY, ENTRY, len, len, 16] {
            image.extend(word.to_le_bytes());
        }
        image.extend(code);
        image
    }
}
