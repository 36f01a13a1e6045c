"""Sphinx extension that makes the page of the commands from the click commands."""

from __future__ import annotations

import re
import textwrap

import click

PAGE = "reference/command_line"


def escaped(text):
    """Escape the characters of Markdown, and mark options as code."""
    text = re.sub(r"([\\`*_{}\[\]<>|~$])", r"\\\1", text)
    return re.sub(r"(?<!\S)--[a-z]+(-[a-z]+)*", r"`\g<0>`", text)


def paragraphs(text):
    """Return help in Markdown, with preformatted paragraphs as code blocks."""
    parts = []
    for paragraph in re.split(r"\n\s*\n", text.replace("\f", "")):
        lines = paragraph.strip("\n").splitlines()
        if lines and lines[0].strip() == "\b":
            block = textwrap.dedent("\n".join(lines[1:]))
            parts.append(f"```text\n{block}\n```")
        else:
            parts.append(escaped(" ".join(line.strip() for line in lines)))
    return "\n\n".join(filter(None, parts))


def definition(option, context):
    """Return an option as a term and its definition."""
    names, explanation = option.get_help_record(context)
    return f"`{names}`\n: {escaped(explanation)}"


def command_section(name, command, parent):
    """Return the section of a command in Markdown."""
    # click wraps the first line of its help, so the usage comes from the pieces
    context = click.Context(command, info_name=name, parent=parent)
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    definitions = [
        definition(parameter, context)
        for parameter in command.get_params(context)
        # the help of the command explains its arguments
        if isinstance(parameter, click.Option)
    ]
    parts = [
        f"## {name}",
        f"```text\n{usage}\n```",
        paragraphs(command.help or ""),
        *definitions,
        paragraphs(command.epilog or ""),
    ]
    return "\n\n".join(filter(None, parts))


def command_page():
    """Return all commands in Markdown."""
    from sk_denoise.cli import COMMANDS, PROGRAM, root_command

    context = click.Context(
        root_command, info_name=PROGRAM, **root_command.context_settings
    )
    sections = [
        command_section(name, root_command.get_command(context, name), context)
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
