"""Reads {"schema": ..., "samples": [TOML, ...]} and writes what is wrong with each sample, by the schema alone."""

import json
import sys
import tomllib

from jsonschema import Draft202012Validator

asked = json.load(sys.stdin)
Draft202012Validator.check_schema(asked["schema"])
validator = Draft202012Validator(asked["schema"])
json.dump(
    [
        [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(tomllib.loads(sample))]
        for sample in asked["samples"]
    ],
    sys.stdout,
)
