//! Lines as codes of pixels, which a telephone photographs; whoever scans one gets the lines as text. The only place that names `qrcode`.

use qrcode::{Color, EcLevel, QrCode, Version};

use crate::base::text;

/// Where the codes are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// On a terminal of so many columns.
    Columns(u16),
    /// On paper, or on a page as large as it takes.
    Paper,
}

/// Why there are no codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QrError {
    /// A terminal that is too narrow for a code with one line.
    #[error("the terminal has {0} columns, too few for a code that can be photographed")]
    Narrow(u16),
    /// Nobody photographs so many.
    #[error("this takes {0} codes, and nobody photographs more than {PICTURES_MAX}")]
    TooMany(usize),
}

/// One code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The numbers of the lines that it holds, from and to.
    pub lines: (usize, usize),
    side: usize,
    dark: Vec<bool>,
}

/// Codes for one list, at most.
const PICTURES_MAX: usize = 64;
/// Light pixels that must be around a code, on each side.
const BORDER: usize = 4;
/// The largest code that a telephone reads well from paper, and from a screen.
const VERSION_MAX: i16 = 25;
/// Pixels on a code's side: version 1 has 21, and each version more has four more.
const fn side_of(version: i16) -> i16 {
    17 + 4 * version
}

/// The lines as codes, in order, each as large as fits.
///
/// # Errors
/// When they do not fit, or are too many.
pub fn pictures(lines: &[String], fit: Fit) -> Result<Vec<Picture>, QrError> {
    let version = match fit {
        Fit::Paper => VERSION_MAX,
        Fit::Columns(columns) => {
            let side = i16::try_from(columns).unwrap_or(i16::MAX).saturating_sub(2 * BORDER as i16);
            let version = ((side - side_of(0)) / 4).min(VERSION_MAX);
            if version < 1 {
                return Err(QrError::Narrow(columns));
            }
            version
        }
    };
    // All lines but the last are equally long, but for their numbers: as many of the longest as fit always fit.
    let longest = lines.iter().map(|line| compact(line)).max_by_key(String::len).unwrap_or_default();
    let fits = |count: &usize| encode(&vec![longest.clone(); *count].join(" "), version).is_some();
    let (mut each, mut above) = (0, lines.len() + 1);
    while each + 1 < above {
        let middle = each + (above - each) / 2;
        if fits(&middle) { each = middle } else { above = middle }
    }
    if each == 0 {
        return Err(match fit {
            Fit::Columns(columns) => QrError::Narrow(columns),
            Fit::Paper => QrError::TooMany(lines.len()),
        });
    }
    let count = lines.len().div_ceil(each);
    if count > PICTURES_MAX {
        return Err(QrError::TooMany(count));
    }
    // Spread evenly, so that the last is not a small one beside large ones.
    let each = lines.len().div_ceil(count);
    let picture = |(at, some): (usize, &[String])| {
        let text: Vec<String> = some.iter().map(|line| compact(line)).collect();
        let smallest = (1..=version).find_map(|version| encode(&text.join(" "), version))?;
        let dark = smallest.to_colors().into_iter().map(|color| color == Color::Dark).collect();
        let first = at * each + 1;
        Some(Picture { lines: (first, first + some.len() - 1), side: smallest.width(), dark })
    };
    lines.chunks(each).enumerate().map(picture).collect::<Option<_>>().ok_or(QrError::TooMany(count))
}

/// A line without what only helps the eye: a code has an own, short way to say capital letters, digits, `/`, `:` and one space.
fn compact(line: &str) -> String {
    line.split_whitespace().collect()
}

fn encode(text: &str, version: i16) -> Option<QrCode> {
    QrCode::with_version(text, Version::Normal(version), EcLevel::M).ok()
}

impl Picture {
    /// Pixels on a side, with the light border.
    pub fn side(&self) -> usize {
        self.side + 2 * BORDER
    }

    /// Whether a pixel is dark; those of the border, and all outside, are not.
    pub fn is_dark(&self, x: usize, y: usize) -> bool {
        let inside = |at: usize| at.checked_sub(BORDER).filter(|at| *at < self.side);
        inside(x).zip(inside(y)).is_some_and(|(x, y)| self.dark[y * self.side + x])
    }

    /// Rows of characters, each of which is two pixels, one above the other. Light is what is drawn, as on the usual dark terminal.
    pub fn rows(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.side()).step_by(2).map(move |y| {
            (0..self.side())
                .map(|x| match (self.is_dark(x, y), self.is_dark(x, y + 1)) {
                    (false, false) => '█',
                    (false, true) => '▀',
                    (true, false) => '▄',
                    (true, true) => ' ',
                })
                .collect()
        })
    }

    /// The dark pixels as the path of an SVG, in units of a pixel.
    pub fn svg_path(&self) -> String {
        let mut path = String::new();
        for y in 0..self.side() {
            let mut x = 0;
            while x < self.side() {
                let length = (x..self.side()).take_while(|x| self.is_dark(*x, y)).count();
                if length > 0 {
                    path += &format!("M{x} {y}h{length}v1h-{length}z");
                }
                x += length.max(1);
            }
        }
        path
    }
}

/// All codes as one SVG, one below the other, each with its words under it.
pub fn svg(pictures: &[Picture], words: impl Fn(usize, &Picture) -> String) -> String {
    const WORDS_HEIGHT: usize = 8;
    let width = pictures.iter().map(Picture::side).max().unwrap_or_default();
    let height: usize = pictures.iter().map(|picture| picture.side() + WORDS_HEIGHT).sum();
    // Four pixels of a screen for each.
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{}\" height=\"{}\" \
         shape-rendering=\"crispEdges\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n",
        4 * width,
        4 * height
    );
    let mut top = 0;
    for (at, picture) in pictures.iter().enumerate() {
        svg += &format!(
            "<g transform=\"translate(0 {top})\"><path d=\"{}\"/><text x=\"{BORDER}\" y=\"{}\" font-family=\"sans-serif\" \
             font-size=\"4\">{}</text></g>\n",
            picture.svg_path(),
            picture.side() + WORDS_HEIGHT / 2,
            text::markup(&words(at, picture)),
        );
        top += picture.side() + WORDS_HEIGHT;
    }
    svg + "</svg>\n"
}
