"""Checks the Slack payloads in a directory with Slack's own models: slack_blocks.py DIR."""

import json
import sys
from pathlib import Path

from slack_sdk.models.attachments import BlockAttachment
from slack_sdk.models.blocks import Block, RichTextBlock


def check_blocks(blocks: list) -> None:
    if len(blocks) > 50:
        raise ValueError(f"{len(blocks)} blocks")
    for raw in blocks:
        block = Block.parse(raw)
        if block is None or type(block) is Block:
            raise ValueError(f"no model for {raw.get('type')}")
        block.validate_json()
        # What the model does not know is not in its own JSON.
        again = json.loads(json.dumps(block.to_dict()))
        if again != raw:
            raise ValueError(f"not understood as it is:\n{json.dumps(raw)}\n{json.dumps(again)}")
        if isinstance(block, RichTextBlock) and not raw["elements"]:
            raise ValueError("empty rich_text")


def check(payload: dict) -> None:
    if not payload["text"]:
        raise ValueError("no fallback text")
    check_blocks(payload["blocks"])
    for attachment in payload["attachments"]:
        check_blocks(attachment["blocks"])
        blocks = [Block.parse(b) for b in attachment["blocks"]]
        BlockAttachment(blocks=blocks, color=attachment["color"]).validate_json()


def main() -> int:
    count = failed = 0
    for path in sorted(Path(sys.argv[1]).glob("*.json")):
        count += 1
        try:
            check(json.loads(path.read_text()))
        except Exception as error:  # every payload is reported
            failed += 1
            print(f"{path.name}: {type(error).__name__}: {error}", file=sys.stderr)
    if failed or not count:
        return 1
    print(f"{count} payloads are valid")
    return 0


sys.exit(main())
