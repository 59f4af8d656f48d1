"""Refusals as OpenAI clients expect them."""

from dataclasses import dataclass

import msgspec


@dataclass(eq=False)
class ApiError(Exception):
    """A refusal: HTTP status, OpenAI's error object, and `x-tierline-reason`. Not frozen: Python sets its traceback.

    `message` names the field or header and the fix. `reason` is one CamelCase word for programs.
    """

    status: int
    message: str
    reason: str
    kind: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None
    retry_after_s: int = 0

    def body(self) -> bytes:
        """Return OpenAI's error object as JSON."""
        return msgspec.json.encode({"error": self.error_object()})

    def error_object(self) -> dict[str, str | None]:
        return {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}


def invalid(param: str | None, message: str, code: str | None = None, reason: str = "InvalidRequest") -> ApiError:
    """A 400 that names the parameter."""
    return ApiError(400, message, reason, param=param, code=code)


def too_long(tokens: int, window_tokens: int) -> ApiError:
    """A request that no worker of the fleet can hold."""
    message = f"The workers' context is {window_tokens} tokens, but this request has {tokens}; shorten it."
    return invalid("messages", message, "context_length_exceeded", "ContextLengthExceeded")


def unauthorized(message: str) -> ApiError:
    return ApiError(401, message, "InvalidApiKey", kind="authentication_error", code="invalid_api_key")


def model_not_found(model: str, known: list[str]) -> ApiError:
    listed = ", ".join(sorted(known)) or "none yet"
    message = f"The model {model!r} does not exist here; set 'model' to one of: {listed}."
    return ApiError(404, message, "ModelNotFound", param="model", code="model_not_found")


def adapter_not_found(adapter: str) -> ApiError:
    """A model name whose adapter no worker serves."""
    message = f"The adapter {adapter!r} is served by no worker now; see /v1/models for those that are."
    return ApiError(404, message, "AdapterNotFound", param="model", code="model_not_found")


def too_many(message: str, reason: str, retry_after_s: int) -> ApiError:
    return ApiError(
        429, message, reason, kind="rate_limit_error", code="rate_limit_exceeded", retry_after_s=retry_after_s
    )


def unavailable(message: str, reason: str, retry_after_s: int = 5) -> ApiError:
    return ApiError(503, message, reason, kind="server_error", code="service_unavailable", retry_after_s=retry_after_s)


def failed(message: str) -> ApiError:
    return ApiError(500, message, "GenerationFailed", kind="server_error", code="generation_failed")
