//! Bits in characters of base32 (RFC 4648): five each, most significant first, and a checksum over them.

/// The alphabet; upper case is read too.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// x²⁰+x¹⁹+x⁶+x⁵+x³+1, which is x+1 times a primitive polynomial: every error of up to three bits is found, every odd number
/// of them, and every error within twenty bits, so a wrong character or two that changed places.
const POLYNOMIAL: u32 = 0x80069;
const CHECKSUM: usize = 20;

/// What a character stands for.
pub(super) fn value(character: u8) -> Option<u8> {
    match character.to_ascii_lowercase() {
        letter @ b'a'..=b'z' => Some(letter - b'a'),
        digit @ b'2'..=b'7' => Some(digit - b'2' + 26),
        _ => None,
    }
}

/// Writes numbers and bytes as bits.
#[derive(Default)]
pub(super) struct Writer(Vec<bool>);

impl Writer {
    pub(super) fn number(&mut self, number: u32, bits: usize) {
        self.0.extend((0..bits).rev().map(|bit| number >> bit & 1 == 1));
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.number(u32::from(byte), 8));
    }

    /// All of it with its checksum, as characters.
    pub(super) fn finish(mut self) -> String {
        self.0.resize(self.0.len().next_multiple_of(5), false);
        let sum = checksum(&self.0);
        self.number(sum, CHECKSUM);
        let value = |bits: &[bool]| bits.iter().fold(0, |value, &bit| value << 1 | usize::from(bit));
        self.0.chunks(5).map(|bits| char::from(ALPHABET[value(bits)])).collect()
    }
}

/// Why bits cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// There are no more.
    End,
    /// A character is none of the alphabet, or the checksum is wrong.
    Wrong,
}

/// Reads what a [`Writer`] wrote, from as many characters as it takes.
pub(super) struct Reader<'a> {
    characters: &'a [u8],
    bits: Vec<bool>,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(characters: &'a [u8]) -> Self {
        Reader { characters, bits: Vec::new(), at: 0 }
    }

    pub(super) fn number(&mut self, bits: usize) -> Result<u32, Unreadable> {
        while self.bits.len() < self.at + bits {
            let next = self.characters.get(self.bits.len() / 5).ok_or(Unreadable::End)?;
            let value = value(*next).ok_or(Unreadable::Wrong)?;
            self.bits.extend((0..5).rev().map(|bit| value >> bit & 1 == 1));
        }
        let number = self.bits[self.at..self.at + bits].iter().fold(0, |number, &bit| number << 1 | u32::from(bit));
        self.at += bits;
        Ok(number)
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            *byte = self.number(8)? as u8;
        }
        Ok(bytes)
    }

    /// Reads what fills the last character, which is nothing.
    pub(super) fn padding(&mut self) -> Result<(), Unreadable> {
        match self.number(self.at.next_multiple_of(5) - self.at)? {
            0 => Ok(()),
            _ => Err(Unreadable::Wrong),
        }
    }

    /// Reads the checksum of all before.
    pub(super) fn checksum(&mut self) -> Result<(), Unreadable> {
        self.padding()?;
        let expected = checksum(&self.bits[..self.at]);
        if self.number(CHECKSUM)? == expected { Ok(()) } else { Err(Unreadable::Wrong) }
    }

    /// How many characters were read.
    pub(super) fn read(&self) -> usize {
        self.at.div_ceil(5)
    }
}

fn checksum(bits: &[bool]) -> u32 {
    let top = 1 << (CHECKSUM - 1);
    bits.iter().fold(top | 1, |sum, &bit| {
        let out = (sum & top != 0) != bit;
        (sum << 1 & (top | (top - 1))) ^ if out { POLYNOMIAL } else { 0 }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let mut writer = Writer::default();
        writer.number(5, 3);
        writer.bytes(&[1, 2, 255]);
        writer.number(0x12345, 20);
        let text = writer.finish();
        let mut reader = Reader::new(text.as_bytes());
        assert_eq!((reader.number(3), reader.bytes(), reader.number(20)), (Ok(5), Ok([1, 2, 255]), Ok(0x12345)));
        assert_eq!((reader.checksum(), reader.read()), (Ok(()), text.len()));
        assert_eq!(reader.number(1), Err(Unreadable::End));
    }

    /// A checksum of this kind tells errors by their shape alone, whatever the text is.
    #[test]
    fn every_wrong_character_and_every_swap_is_found() {
        let mut writer = Writer::default();
        writer.bytes(&[0x5a; 70]);
        let text = writer.finish().into_bytes();
        let is_right = |text: &[u8]| {
            let mut reader = Reader::new(text);
            reader.bytes::<70>().is_ok() && reader.checksum().is_ok()
        };
        assert!(is_right(&text));
        for at in 0..text.len() {
            for &other in ALPHABET.iter().filter(|&&other| other != text[at]) {
                let mut typed = text.clone();
                typed[at] = other;
                assert!(!is_right(&typed), "at {at}");
            }
            if at > 0 && text[at] != text[at - 1] {
                let mut typed = text.clone();
                typed.swap(at, at - 1);
                assert!(!is_right(&typed), "swapped at {at}");
            }
        }
    }
}
