"""Rialto's own commands, as stories call them."""

import json
import os
import subprocess


def rialto(t, *arguments, stdin="", account=None, folder=None):
    """Exit code and output of a command, run with a key of the account: the story's if none is given."""
    env = {**os.environ, "RIALTO_SERVER": t.cloud.url, "RIALTO_ACCESS_KEY_ID": account or t.account, "RIALTO_SECRET_ACCESS_KEY": "secret"}
    done = subprocess.run(["rialto", *arguments], env=env, cwd=folder, capture_output=True, text=True, input=stdin, timeout=120)
    return done.returncode, done.stdout or done.stderr


def shown(t, *arguments, **more):
    """What a command prints with -o json."""
    code, out = rialto(t, *arguments, "-o", "json", **more)
    if code not in (0, 1):
        raise RuntimeError(f"rialto {' '.join(arguments)} ended with {code}: {out}")
    return json.loads(out)
