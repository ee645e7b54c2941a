//! Lines that fit a terminal.

/// Columns that every answer fits into, commands to paste excepted.
pub const WIDTH: usize = 80;

/// Breaks at spaces so that the first line has at most `width` characters, and each further one `width` with `indent`
/// spaces before it. A word longer than a line stands by itself. Line breaks in `text` stay.
pub fn wrapped(text: &str, width: usize, indent: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for paragraph in text.split('\n') {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width.saturating_sub(1) {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
                // Two spaces after the first word of a label stay two.
                if lines.is_empty() && text.starts_with(&format!("{line} {word}")) {
                    line.push(' ');
                }
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines.join(&format!("\n{}", " ".repeat(indent)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaks_at_spaces_and_keeps_a_label_apart() {
        assert_eq!(wrapped("one two three", 9, 2), "one two\n  three");
        assert_eq!(wrapped("fail  it broke", 40, 6), "fail  it broke");
        assert_eq!(wrapped("averyveryverylongword x", 5, 1), "averyveryverylongword\n x");
        assert_eq!(wrapped("a\n\nb", 10, 0), "a\n\nb");
    }
}
