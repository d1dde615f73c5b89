"""Reading `tags` of a policy or a legal bound: a list, or a block of `all`, `any` and `none`."""

from __future__ import annotations

from retention.policy.document import Block, Node
from retention.policy.form import Form, shown
from retention.policy.tags import TagMatch

_EXAMPLE = "a list of tags, as in [sales]"


def read_tags(form: Form, node: Node) -> TagMatch | None:
    """The tags that are asked for; None after a problem. A list asks for all of them."""
    found = len(form.problems)
    match = TagMatch()
    if not isinstance(node, Block):
        match = TagMatch(all=form.texts(node, '"tags"', "the tag", _EXAMPLE))
    elif not node.entries:
        form.refuse(
            node.mark, '"tags" is an empty block', "write {all: [...], any: [...], none: [...]}, or one of these"
        )
    else:
        entries = form.block(node, '"tags"', required={}, optional=("all", "any", "none"))
        lists = {
            key: form.texts(entry, f'"{key}" in "tags"', "the tag", _EXAMPLE) for key, entry in (entries or {}).items()
        }
        match = TagMatch(**lists)
        excluded = sorted({*match.all, *match.any} & set(match.none))
        if excluded:
            form.refuse(
                node.mark, f"the tag {shown(excluded[0])} is asked for and excluded", "keep it in one of the lists"
            )
    return match if len(form.problems) == found else None
