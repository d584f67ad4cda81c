//! The courier's sheet in words: as text, and as a page that needs nothing else and prints on one side. Names come from a manifest that a
//! stranger may have signed: none of them is ever markup, or drives a terminal.

use crate::{
    app::bundle::{Sheet, SheetVolume},
    base::text,
};

/// What is done at the other end, step by step: words, and a command where there is one.
const STEPS: [(&str, &str); 4] = [
    ("Compare the six words with the lead over the phone, before anything is set up.", ""),
    ("Mount the media. Is every byte as it was signed?", "regenesis bundle verify DIR..."),
    (
        "Take them in; or join from them with --media.",
        "regenesis bundle import DIR... --dir relay --ticket-file ticket.txt",
    ),
    ("If something is missing, read it out to the other side.", "regenesis bundle missing --dir relay"),
];

fn what(volume: &SheetVolume) -> String {
    if volume.parity {
        return "parity".to_owned();
    }
    format!("{}, {}", text::count(volume.chunks.into(), "chunk"), text::bytes(volume.bytes))
}

fn rule(sheet: &Sheet) -> String {
    match sheet.parity {
        0 => "All of these volumes are needed.".to_owned(),
        parity => format!("Any {parity} of these {} volumes may be lost, broken or late.", sheet.volumes.len()),
    }
}

const CARE: &str =
    "Nobody has to trust who carries them: every byte is proved by the manifest, which the lead has signed.";

/// The sheet as text.
pub(crate) fn text(sheet: &Sheet) -> String {
    let mut out = format!(
        "Media for the new genesis of {}\n\n  manifest   {}\n  six words  {}\n  lead       {}\n\nVolumes:\n",
        text::escape(&sheet.chain_id),
        sheet.manifest_id,
        sheet.words,
        sheet.lead
    );
    for volume in &sheet.volumes {
        out += &format!("  [ ] {}  {}\n", volume.label, what(volume));
    }
    out += &format!("\n{}\n{CARE}\n\nAt the other end:\n", rule(sheet));
    for (number, (words, command)) in (1..).zip(STEPS) {
        out += &format!("  {number}. {words}\n");
        if !command.is_empty() {
            out += &format!("       {command}\n");
        }
    }
    out
}

/// The sheet as a page.
pub(crate) fn html(sheet: &Sheet) -> String {
    let shown = |name: &str| text::markup(&text::escape(name));
    let volumes: String = sheet
        .volumes
        .iter()
        .map(|volume| {
            format!(
                "<tr><td class=\"box\"></td><td><b>{}</b></td><td>{}</td></tr>\n",
                shown(&volume.label),
                shown(&what(volume))
            )
        })
        .collect();
    let command = |command: &str| match command {
        "" => String::new(),
        command => format!("<br><code>{}</code>", shown(command)),
    };
    let steps: String =
        STEPS.iter().map(|(words, line)| format!("<li>{}{}</li>\n", shown(words), command(line))).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Media of {network}</title>\n<style>\n\
         body {{ font: 12pt/1.4 sans-serif; color: #000; background: #fff; max-width: 18cm; margin: 1.5cm auto }}\n\
         code, .id {{ font-family: monospace; overflow-wrap: anywhere }}\n.words {{ font-size: 18pt; font-weight: bold }}\n\
         table {{ border-collapse: collapse; width: 100% }}\ntd {{ border: 1px solid #000; padding: 2mm }}\n.box {{ width: 6mm }}\n\
         @page {{ margin: 1.5cm }}\n</style>\n</head>\n<body>\n<h1>Media for the new genesis of {network}</h1>\n\
         <p class=\"words\">{words}</p>\n<p>Manifest <span class=\"id\">{id}</span><br>Lead <span class=\"id\">{lead}</span></p>\n\
         <table>\n{volumes}</table>\n<p>{rule} {CARE}</p>\n<h2>At the other end</h2>\n<ol>\n{steps}</ol>\n</body>\n</html>\n",
        network = shown(&sheet.chain_id),
        words = shown(&sheet.words),
        id = sheet.manifest_id,
        lead = shown(&sheet.lead),
        rule = shown(&rule(sheet)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Blake3Hash;

    fn sheet(chain_id: &str, parity: usize) -> Sheet {
        let volume = |number: usize| SheetVolume {
            label: format!("net-{number}"),
            chunks: 3,
            bytes: 3 << 20,
            parity: number > 3 - parity,
            directory: None,
        };
        Sheet {
            chain_id: chain_id.to_owned(),
            manifest_id: Blake3Hash::from_bytes([7; 32]),
            words: "one two three four five six".to_owned(),
            lead: "ab#ed25519".to_owned(),
            volumes: (1..=3).map(volume).collect(),
            parity,
        }
    }

    #[test]
    fn hostile_names_are_no_markup_and_drive_no_terminal() {
        let name = "<script>alert('\u{1b}[2J')</script>&\"\u{202e}";
        let (page, words) = (html(&sheet(name, 0)), text(&sheet(name, 0)));
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;"), "{page}");
        for shown in [&page, &words] {
            assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown}");
        }
        // Nothing is fetched from elsewhere.
        assert!(!page.contains("http") && !page.contains("src="), "{page}");
    }

    #[test]
    fn it_says_what_each_volume_holds_and_how_many_may_be_lost() {
        let (all, some) = (sheet("net-2", 0), sheet("net-2", 1));
        for shown in [text(&all), html(&all)] {
            assert!(
                shown.contains("3 chunks, 3.0 MiB") && shown.contains("All of these volumes are needed"),
                "{shown}"
            );
            assert!(shown.contains("one two three four five six") && shown.contains(&"07".repeat(32)), "{shown}");
        }
        for shown in [text(&some), html(&some)] {
            assert!(shown.contains("Any 1 of these 3 volumes may be lost") && shown.contains("parity"), "{shown}");
        }
    }
}
