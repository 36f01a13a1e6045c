"""Sphinx extension that makes the page of the commands from the click commands."""

from __future__ import annotations

import re

import click

PAGE = "reference/command_line"


def escaped(text):
    """Escape the characters that mean something in Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>|~$])", r"\\\1", text)


def paragraphs(text):
    """Return help in Markdown, with preformatted paragraphs as code blocks."""
    parts = []
    for paragraph in re.split(r"\n\s*\n", text.replace("\f", "")):
        lines = paragraph.strip("\n").splitlines()
        if lines and lines[0].strip() == "\b":
            parts.append("\n".join(["```text", *lines[1:], "```"]))
        else:
            parts.append(escaped(" ".join(line.strip() for line in lines)))
    return "\n\n".join(filter(None, parts))


def definition(parameter, context):
    """Return an argument or option as a term and its definition."""
    record = parameter.get_help_record(context)
    if record is None:  # an argument: the help of its command explains it
        return ""
    names, explanation = record
    return f"`{names}`\n: {escaped(explanation) or 'See above.'}"


def command_section(name, command, parent):
    """Return the section of a command in Markdown."""
    # click wraps the first line of its help, so the usage comes from the pieces
    context = click.Context(command, info_name=name, parent=parent)
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    definitions = [
        definition(parameter, context) for parameter in command.get_params(context)
    ]
    parts = [
        f"## {name}",
        f"```text\n{usage}\n```",
        paragraphs(command.help or ""),
        *filter(None, definitions),
        paragraphs(command.epilog or ""),
    ]
    return "\n\n".join(filter(None, parts))


def command_page():
    """Return all commands in Markdown."""
    from sk_denoise.cli import COMMANDS, PROGRAM, group

    context = click.Context(group, info_name=PROGRAM)
    sections = [
        command_section(name, group.get_command(context, name), context)
        for name in COMMANDS
    ]
    return "\n\n".join(sections)


def add_commands(app, docname, source):
    """Append the commands to their page as it is read."""
    if docname == PAGE:
        source[0] += "\n" + command_page() + "\n"


def setup(app):
    """Register the extension."""
    app.connect("source-read", add_commands)
    # the commands change without their page, so that it is always read again
    app.connect("env-get-outdated", lambda *_: [PAGE])
    return {"parallel_read_safe": True}
