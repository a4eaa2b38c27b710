#!/usr/bin/env python3
"""The advisories known of the crates in Cargo.lock, kept in advisories.toml beside this file.

    advisories.py snapshot CLONE    takes them over from a clone of the RustSec advisory database
    advisories.py unpack DIRECTORY  makes the database that `cargo deny --offline` reads, of the snapshot

The snapshot holds facts only: which versions of which crate, since when, known as what. It names the
crates that it was made for, so that a crate that came later is seen to be missing.
"""

import os
import pathlib
import shutil
import re
import subprocess
import sys
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
SNAPSHOT = HERE / "advisories.toml"
# Where cargo-deny looks below `db-path` of deny.toml: the name of the database, and a hash of its address.
DATABASE = "advisory-db-3157b0e258782691"
KEPT = ("id", "package", "date", "informational", "withdrawn", "aliases")


def locked():
    lock = tomllib.loads((HERE.parent / "Cargo.lock").read_text())
    registry = {p["name"] for p in lock["package"] if p.get("source", "").startswith("registry+")}
    return sorted(registry)


def git(clone, *args):
    return subprocess.run(["git", "-C", clone, *args], check=True, capture_output=True, text=True).stdout


def value(of):
    if isinstance(of, list):
        return "[" + ", ".join(value(item) for item in of) + "]"
    return '"' + str(of).replace("\\", "\\\\").replace('"', '\\"') + '"'


def lines(advisory, versions):
    out = ["[[advisory]]"]
    out += [f"{key} = {value(advisory[key])}" for key in KEPT if advisory.get(key)]
    out += [f"{key} = {value(versions.get(key, []))}" for key in ("patched", "unaffected")]
    return out


def snapshot(clone):
    commit, date = git(clone, "log", "-1", "--format=%H %cs").split()
    crates = locked()
    out = [
        "# Advisories of the RustSec database about the crates in Cargo.lock. Made by advisories.py.",
        f"commit = {value(commit)}",
        f"date = {value(date)}",
        "crates = [",
        *[f"    {value(name)}," for name in crates],
        "]",
    ]
    for name in crates:
        for path in git(clone, "ls-tree", "--name-only", "HEAD", f"crates/{name}/").split():
            text = git(clone, "show", f"HEAD:{path}")
            found = re.match(r"```toml\n(.*?)```", text, re.S)
            if not found:
                sys.exit(f"{path}: no advisory")
            parsed = tomllib.loads(found.group(1))
            out += ["", *lines(parsed["advisory"], parsed.get("versions", {}))]
    SNAPSHOT.write_text("\n".join(out) + "\n")
    print(f"{len(crates)} crates, {sum(line == '[[advisory]]' for line in out)} advisories of {date}")


def unpack(base):
    known = tomllib.loads(SNAPSHOT.read_text())
    missing = sorted(set(locked()) - set(known["crates"]))
    if missing:
        sys.exit(f"advisories.toml was made without {', '.join(missing)}: make it anew")
    root = pathlib.Path(base) / DATABASE
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    for advisory in known.get("advisory", []):
        head = [f"{key} = {value(advisory[key])}" for key in KEPT if advisory.get(key)]
        versions = [f"{key} = {value(advisory[key])}" for key in ("patched", "unaffected") if advisory.get(key)]
        versions = versions or ["patched = []"]
        text = ["```toml", "[advisory]", *head, "", "[versions]", *versions, "```", "", f"# {advisory['id']}", ""]
        path = root / "crates" / advisory["package"] / f"{advisory['id']}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(text))
    # cargo-deny asks git how old the database is.
    when = f"{known['date']}T00:00:00Z"
    env = os.environ | {f"GIT_{who}_{what}": of for who in ("AUTHOR", "COMMITTER")
                        for what, of in (("NAME", "snapshot"), ("EMAIL", "snapshot@example.com"), ("DATE", when))}
    for args in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--no-gpg-sign", "-m", known["commit"]]):
        subprocess.run(["git", "-C", root, "-c", "core.hooksPath=/dev/null", *args], check=True, env=env)
    print(f"{len(known.get('advisory', []))} advisories of {known['date']}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["snapshot", clone]:
            snapshot(clone)
        case ["unpack", base]:
            unpack(base)
        case _:
            sys.exit(__doc__)
