"""What `--help` shows, line by line as it is meant."""

from click.testing import CliRunner

from telnyx_oauth.cli.app import cli


def test_the_exit_codes_and_the_order_of_identities_keep_their_lines():
    shown = CliRunner().invoke(cli, ["--help"]).output
    assert "\\b" not in shown
    lines = [line.strip() for line in shown.splitlines()]
    assert "Exit codes: 0 success, 1 error, 2 wrong usage, 4 authentication needed." in lines
    assert "TELNYX_API_KEY, else your login (profile `default`)." in lines
