"""Checks answers against an OpenAPI document: JSON on standard input, with `document` and `answers`.

Each answer has the name of the operation's path, method, status, and a body; or of a schema, for events of a stream.
"""

import json
import sys

from jsonschema import Draft202012Validator


def resolved(document, part):
    while "$ref" in part:
        at = document
        for name in part["$ref"].removeprefix("#/").split("/"):
            at = at[name]
        part = at
    return part


def main():
    given = json.load(sys.stdin)
    document = given["document"]
    wrong = []
    for answer in given["answers"]:
        if "schema" in answer:
            schema = {"$ref": f"#/components/schemas/{answer['schema']}"}
        else:
            operation = document["paths"][answer["path"]][answer["method"]]
            response = resolved(document, operation["responses"][str(answer["status"])])
            (media,) = response["content"].values()
            schema = media["schema"]
        Draft202012Validator.check_schema(schema)
        validator = Draft202012Validator({**schema, "components": document["components"]})
        for error in validator.iter_errors(answer["body"]):
            wrong.append(f"{answer.get('schema') or (answer['method'], answer['path'], answer['status'])}: {error.message}")
    print("\n".join(wrong))
    sys.exit(1 if wrong else 0)


main()
