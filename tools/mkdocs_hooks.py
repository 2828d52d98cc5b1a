"""What mkdocs does to the pages of docs/ before it renders them.

Pages link to files of the project outside docs/, which a reader of the source follows. The site does not have
these files: there the link becomes the file's name.
"""
import posixpath
import re

LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)\s]+)\)")


def on_page_markdown(markdown, page, **_):
    folder = posixpath.dirname(page.file.src_uri)

    def name(match):
        text, target = match.groups()
        path = posixpath.normpath(posixpath.join("docs", folder, target))
        if path.startswith("docs/"):
            return match.group(0)
        if text.strip("`") == path:
            return f"`{path}`"
        return f"{text} (`{path}`)"

    # Blocks of code are left alone: every second part.
    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.M | re.S)
    return "".join(part if i % 2 else LINK.sub(name, part) for i, part in enumerate(parts))
