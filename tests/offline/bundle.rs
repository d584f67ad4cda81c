//! `bundle missing` and `bundle statements`, as an operator runs them on either side of an air gap.

use std::fs;

use serde_json::Value;

use crate::manifest::World;

/// An island's directory: of the migration it has the manifest, and the genesis.
fn island(world: &World) -> String {
    world.sign();
    let island = world.path("island");
    fs::create_dir(&island).unwrap();
    for name in ["manifest.regenesis", "genesis.json"] {
        fs::copy(world.path(name), format!("{island}/{name}")).unwrap();
    }
    island
}

#[test]
fn what_is_missing_is_written_printed_and_drawn() {
    let world = World::new();
    let island = island(&world);
    let (file, svg) = (world.path("missing.bin"), world.path("missing.svg"));
    let missing = |more: &[&str]| {
        let ran = world.run(&[&["bundle", "missing", "--dir", &island], more].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        ran.stdout
    };
    let json: Value = serde_json::from_str(&missing(&["-o", &file, "--output", "json"])).unwrap();
    let result = &json["result"];
    assert_eq!((&result["chunks"], &result["missing_chunks"]), (&2.into(), &1.into()), "{result}");
    assert_eq!(result["missing_bytes"], fs::metadata(world.path("snapshot.sql.gz")).unwrap().len());
    let words = result["words"].as_str().unwrap();
    assert_eq!(words.split(' ').count(), 6);
    let bytes = fs::read(&file).unwrap();
    assert!(bytes.len() < 20, "{} bytes", bytes.len());

    let text = missing(&[]);
    assert!(text.contains(words) && text.contains("1 of the 2 chunks of"), "{text}");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let expected: Vec<&str> = result["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    assert_eq!(lines, expected);
    assert!(lines[0].starts_with("1/2: "), "{text}");
    assert_eq!(missing(&["--text", "-o", &file]).lines().next(), text.lines().next().map(|line| &line[2..]));
    assert_eq!(fs::read_to_string(&file).unwrap().trim_end(), text.trim_end());

    // No terminal: no colours, as wide as one of 80 columns at most.
    let qr = missing(&["--qr"]);
    assert!(qr.contains('█') && !qr.contains('\u{1b}') && qr.lines().all(|line| line.chars().count() <= 80), "{qr}");
    missing(&["--svg", "-o", &svg]);
    let svg = fs::read_to_string(&svg).unwrap();
    assert!(svg.starts_with("<svg ") && svg.contains("lines 1 to 2</text>"), "{svg}");

    let picture = world.path("missing.png");
    missing(&["--png", "-o", &picture]);
    let mut reader = png::Decoder::new(std::io::BufReader::new(fs::File::open(&picture).unwrap())).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let shown = reader.next_frame(&mut pixels).unwrap();
    assert!(shown.width == shown.height && shown.width >= 8 * 29, "{shown:?}");
    // A light border of four, and then the dark corner of the code.
    let is_light = |x: usize, y: usize| pixels[y * shown.line_size + x / 8] & (0x80 >> (x % 8)) != 0;
    assert!(
        is_light(31, 31) && !is_light(32, 32) && !is_light(39, 32) && !is_light(32, 8 * 11 - 1) && is_light(40, 40)
    );
    assert_eq!(world.run(&["bundle", "missing", "--dir", &island, "--png"]).code, 2, "it is for no terminal");

    let whole = world.run(&["bundle", "missing", "--dir", &world.path("")]);
    assert!(whole.code == 0 && whole.stdout.contains("Nothing is missing: all 2 chunks of"), "{}", whole.stdout);
    let nowhere = world.run(&["bundle", "missing", "--dir", &world.path("nowhere")]);
    assert!(nowhere.code == 1 && nowhere.stderr.contains("it has no manifest"), "{}", nowhere.stderr);
    let two = world.run(&["bundle", "missing", "--dir", &island, "--qr", "--svg"]);
    assert_eq!(two.code, 2, "{}", two.stderr);
}

#[test]
fn statements_of_strangers_are_refused_by_the_name_of_their_file() {
    let world = World::new();
    let island = island(&world);
    let known = world.path("known");
    let ran = world.run(&["bundle", "statements", "--dir", &island, "-o", &known]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        ran.stdout.contains("0 validators' statements of") && ran.stdout.contains("0 of 4 validators"),
        "{}",
        ran.stdout
    );
    let foreign = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/evidence/certificate.evidence");
    let large = world.path("large");
    fs::write(&large, vec![0; (4 << 20) + 1]).unwrap();
    for (file, says) in [
        (foreign, "certificate.evidence cannot be used: none of its 3 statements"),
        (&known, "known cannot be used: no validator's statement is in it"),
        (&large, "large"),
    ] {
        let ran = world.run(&["bundle", "statements", file, "--dir", &island]);
        assert!(ran.code == 3 && ran.stderr.contains(says), "{file}: {} {}", ran.code, ran.stderr);
    }
}
