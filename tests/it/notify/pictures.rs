//! Mails as HTML files, and the pictures of them in docs/. See CONTRIBUTING.md.

use std::path::Path;
use std::process::Command;

use kubeherald::message::{Decision, Notification};
use kubeherald::notify::smtp::Mail;
use kubeherald::template::{Templates, sample};

/// Draws `html` at a width; the height is that of the window.
fn draw(browser: &Path, html: &Path, png: &Path, (width, height): (u32, u32)) {
    let status = Command::new(browser)
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
        ])
        .arg(format!("--window-size={width},{height}"))
        .arg(format!("--screenshot={}", png.display()))
        .arg(format!("file://{}", html.display()))
        .output()
        .unwrap();
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
}

/// `KUBEHERALD_PICTURES=DIR` says where to; with `KUBEHERALD_BROWSER=chromium` they are drawn, too.
#[test]
#[ignore = "draws pictures for docs/: set KUBEHERALD_PICTURES, see CONTRIBUTING.md"]
fn pictures_of_mails() {
    let dir = std::env::var_os("KUBEHERALD_PICTURES").expect("KUBEHERALD_PICTURES names a directory");
    let (dir, browser) = (Path::new(&dir), std::env::var_os("KUBEHERALD_BROWSER"));
    let templates = Templates::shipped().unwrap();
    let write = |name: &str, n: &Notification, heights: [u32; 2]| {
        let mail = Mail::render(n, &templates, "example.com").unwrap();
        let html = dir.join(format!("{name}.html"));
        std::fs::write(&html, &mail.html).unwrap();
        std::fs::write(dir.join(format!("{name}.txt")), format!("{}\n\n{}", mail.subject, mail.text))
            .unwrap();
        for (width, height) in [700, 380].into_iter().zip(heights) {
            if let Some(browser) = &browser {
                draw(Path::new(browser), &html, &dir.join(format!("{name}-{width}.png")), (width, height));
            }
        }
    };
    write("digest", &sample::digest::day(), [2100, 2700]);
    write("digest-empty", &sample::digest::empty(), [300, 340]);
    for (name, decision) in [("first", Decision::First), ("resolved", Decision::Resolved)] {
        write(name, &sample::notification(decision, sample::incident()), [760, 1100]);
    }
    write("hostile", &sample::digest::around(sample::hostile()), [2400, 3000]);
    write("large", &sample::digest::large(&sample::incident(), 4_000), [9000, 12_000]);
}
