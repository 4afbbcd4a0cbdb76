"""Runs a Python function: loads the module that _HANDLER names and speaks the Lambda
Runtime API for it. What a function sees of its context, logging and errors is as on AWS."""

import decimal
import http.client
import importlib
import json
import logging
import os
import re
import sys
import time
import traceback

API = "/2018-06-01/runtime/"
ENV = os.environ
JSON = ENV.get("AWS_LAMBDA_LOG_FORMAT") == "JSON"


class Failure(Exception):
    """An error with its type as Lambda names it."""

    def __init__(self, kind, message, trace=()):
        super().__init__(message)
        self.kind, self.message, self.trace = kind, message, list(trace)


# ---- The Runtime API

connection = http.client.HTTPConnection(ENV["AWS_LAMBDA_RUNTIME_API"], timeout=None)  # whatever the function sets


def request(method, what, body=None, headers=None):
    connection.request(method, API + what, body=body, headers=headers or {})
    answer = connection.getresponse()
    return answer, answer.read()


def post(what, body, kind=None):
    headers = {"Content-Type": "application/json"}
    if kind:
        headers["Lambda-Runtime-Function-Error-Type"] = re.sub(r"[^\x20-\x7e]", "?", kind)
    request("POST", what, body.encode("utf-8", "surrogatepass"), headers)


# ---- Logs


def write(message):
    """Writes one message, whatever lines it has: a NUL before a newline says that it goes on."""
    sys.stdout.flush()
    data = (message.rstrip("\n").replace("\n", "\0\n") + "\n").encode("utf-8", "replace")
    while data:
        try:
            data = data[os.write(1, data):]
        except BlockingIOError:
            time.sleep(0.001)


class LogHandler(logging.Handler):
    def emit(self, record):
        try:
            write(self.format(record))
        except Exception:
            self.handleError(record)


class RequestFilter(logging.Filter):
    request_id = None

    def filter(self, record):
        record.aws_request_id = RequestFilter.request_id or ""
        return True


class JSONFormatter(logging.Formatter):
    usual = set(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "asctime", "aws_request_id", "taskName"}

    def format(self, record):
        line = {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname,
            "message": record.getMessage(),
            "logger": record.name,
        }
        if record.exc_info and record.exc_info[1] is not None:
            kind, value, trace = record.exc_info
            line["errorType"] = kind.__name__
            line["errorMessage"] = str(value)
            line["stackTrace"] = [frame.rstrip("\n") for frame in traceback.format_tb(trace)]
            line["location"] = "%s:%s:%s" % (record.pathname, record.funcName, record.lineno)
        line.update({k: v for k, v in record.__dict__.items() if k not in self.usual})
        if record.aws_request_id:
            line["requestId"] = record.aws_request_id
        return json.dumps(line, default=str, ensure_ascii=False)


def set_up_logging():
    handler = LogHandler()
    handler.addFilter(RequestFilter())
    if JSON:
        handler.setFormatter(JSONFormatter())
        level = {"TRACE": "DEBUG", "FATAL": "CRITICAL", "WARN": "WARNING"}.get(ENV["AWS_LAMBDA_LOG_LEVEL"], ENV["AWS_LAMBDA_LOG_LEVEL"])
        logging.getLogger().setLevel(level)
    else:
        formatter = logging.Formatter("[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s", "%Y-%m-%dT%H:%M:%S")
        formatter.converter = time.gmtime
        handler.setFormatter(formatter)
    logging.getLogger().addHandler(handler)


def log_error(kind, message, trace):
    if JSON:
        write(json.dumps({
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "level": "ERROR", "log_level": "ERROR",
            "errorType": kind, "errorMessage": message, "requestId": RequestFilter.request_id,
            "stackTrace": [frame.rstrip("\n") for frame in trace],
        }, ensure_ascii=False))
        return
    lines = ["[ERROR] %s: %s" % (kind, message)]
    if trace:
        lines.append("Traceback (most recent call last):")
        lines += [frame.rstrip("\n") for frame in trace]
    write("\n".join(lines))


# ---- The function's module


def load_handler(name):
    try:
        module_name, attribute = name.rsplit(".", 1)
    except ValueError as e:
        raise Failure("Runtime.MalformedHandlerName", "Bad handler '%s': %s" % (name, e)) from None
    shown = module_name
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as e:
        raise Failure("Runtime.ImportModuleError", "Unable to import module '%s': %s" % (shown, e)) from None
    except SyntaxError as e:
        trace = ['  File "%s" Line %s\n    %s' % (e.filename, e.lineno, (e.text or "").strip())]
        raise Failure("Runtime.UserCodeSyntaxError", "Syntax error in module '%s': %s" % (shown, e), trace) from None
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise Failure("Runtime.HandlerNotFound", "Handler '%s' missing on module '%s'" % (attribute, shown)) from None


# ---- Invocations


class Fields:
    def __init__(self, **values):
        self.__dict__.update(values)

    def __repr__(self):
        return "%s(%s)" % (type(self).__name__, ", ".join("%s=%r" % item for item in self.__dict__.items()))


class Client(Fields):
    pass


class ClientContext(Fields):
    pass


class CognitoIdentity(Fields):
    pass


class LambdaContext(Fields):
    def get_remaining_time_in_millis(self):
        return max(int(self._deadline - time.time() * 1000), 0)

    def log(self, message):
        write(str(message))


def context_of(headers):
    client = headers.get("Lambda-Runtime-Client-Context")
    if client:
        given = json.loads(client)
        of = given.get("client") or {}
        names = ("installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name")
        client = ClientContext(custom=given.get("custom"), env=given.get("env"), client=Client(**{n: of.get(n) for n in names}))
    identity = json.loads(headers.get("Lambda-Runtime-Cognito-Identity") or "{}")
    return LambdaContext(
        aws_request_id=headers["Lambda-Runtime-Aws-Request-Id"],
        log_group_name=ENV["AWS_LAMBDA_LOG_GROUP_NAME"],
        log_stream_name=ENV["AWS_LAMBDA_LOG_STREAM_NAME"],
        function_name=ENV["AWS_LAMBDA_FUNCTION_NAME"],
        memory_limit_in_mb=ENV["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"],
        function_version=ENV["AWS_LAMBDA_FUNCTION_VERSION"],
        invoked_function_arn=headers["Lambda-Runtime-Invoked-Function-Arn"],
        client_context=client or None,
        identity=CognitoIdentity(cognito_identity_id=identity.get("cognitoIdentityId"), cognito_identity_pool_id=identity.get("cognitoIdentityPoolId")),
        _deadline=int(headers["Lambda-Runtime-Deadline-Ms"]),
    )


def plain(value):
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError("Object of type %s is not JSON serializable" % type(value).__name__)


def run(handler, headers, body):
    """Returns the answer as JSON."""
    try:
        event = json.loads(body)
    except ValueError as e:
        raise Failure("Runtime.UnmarshalError", "Unable to unmarshal input: %s" % e) from None
    result = handler(event, context_of(headers))
    try:
        return json.dumps(result, default=plain, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as e:
        raise Failure("Runtime.MarshalError", "Unable to marshal response: %s" % e) from None


def described(error, skip):
    """Returns an error's type, message and trace, without the frames of this file."""
    if isinstance(error, Failure):
        return error.kind, error.message, error.trace
    frames = traceback.extract_tb(error.__traceback__)
    return type(error).__name__, str(error), traceback.format_list(frames[skip:])


def invoke(handler):
    answer, body = request("GET", "invocation/next")
    if answer.status != 200:
        sys.exit(1)
    request_id = answer.headers["Lambda-Runtime-Aws-Request-Id"]
    RequestFilter.request_id = request_id
    ENV["_X_AMZN_TRACE_ID"] = answer.headers.get("Lambda-Runtime-Trace-Id") or ""
    try:
        result = run(handler, answer.headers, body)
    except Exception as e:
        kind, message, trace = described(e, 2)
        log_error(kind, message, trace)
        text = json.dumps({"errorMessage": message, "errorType": kind, "requestId": request_id, "stackTrace": trace})
        post("invocation/%s/error" % request_id, text, kind)
        return
    finally:
        flush()
    post("invocation/%s/response" % request_id, result)


def flush():
    sys.stdout.flush()
    sys.stderr.flush()


def main():
    sys.path[0] = ENV["LAMBDA_TASK_ROOT"]  # in the place of this file's own directory
    sys.stdout.reconfigure(line_buffering=True)
    sys.stderr.reconfigure(line_buffering=True)
    set_up_logging()
    try:
        handler = load_handler(ENV["_HANDLER"])
    except Exception as e:
        kind, message, trace = described(e, 2)
        log_error(kind, message, trace)
        post("init/error", json.dumps({"errorMessage": message, "errorType": kind, "requestId": "", "stackTrace": trace}), kind)
        flush()
        os._exit(1)
    while True:
        try:
            invoke(handler)
        except (ConnectionError, http.client.HTTPException):
            os._exit(1)  # the server is gone


main()
