package s3

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
)

// errNotS3 is an answer that is not S3's: from a login page or a web server.
var errNotS3 = errors.New("what answers there is not S3")

// Error says in one line which request to the server failed, and why.
type Error struct {
	text      string
	cause     error
	temporary bool
	lasting   bool
	denied    bool
	status    int    // of HTTP; 0: there was no answer
	code      string // of the answer
}

func (e *Error) Error() string { return e.text }

// Unwrap returns fs.ErrNotExist, fs.ErrExist or syscall.ENOSPC if the server said that, syscall.ESTALE
// if an object was replaced while it was read, else the SDK's error.
func (e *Error) Unwrap() error { return e.cause }

// Temporary reports whether the same request may succeed later: the network, a server that is
// busy or has trouble of its own.
func (e *Error) Temporary() bool { return e.temporary }

// Lasting reports whether requests for other objects will fail, too: the bucket, the credentials or the
// server is wrong.
func (e *Error) Lasting() bool { return e.lasting }

// Denied reports whether the server denies access to the object. It also does that for a missing object
// if the user may not list the bucket.
func (e *Error) Denied() bool { return e.denied }

// fail says what went wrong. The SDK's own text names its operations and request ids, which do not help
// an operator.
func (s *Store) fail(ctx context.Context, op, name string, err error) error {
	if err == nil {
		return nil
	}
	what := strings.TrimRight(op+" "+name, " ") + " in " + s.String()
	if cause := ctx.Err(); cause != nil {
		return fmt.Errorf("%s: %w", what, cause)
	}
	e := &Error{cause: err}
	var reason string
	var api smithy.APIError
	if errors.As(err, &api) {
		reason = s.answer(e, api)
	} else {
		reason = s.trouble(e)
	}
	e.text = what + ": " + strings.Join(strings.Fields(reason), " ")
	return e
}

// answer explains an error that the server sent.
func (s *Store) answer(e *Error, api smithy.APIError) string {
	status, header := 0, http.Header{}
	var response *awshttp.ResponseError
	if errors.As(e.cause, &response) && response.Response != nil {
		status, header = response.HTTPStatusCode(), response.Response.Header
	}
	e.status, e.code = status, api.ErrorCode()
	said := api.ErrorMessage()
	if said == "" {
		said = api.ErrorCode()
	}
	switch api.ErrorCode() {
	case "NoSuchKey", "NotFound", "NoSuchUpload":
		e.cause = fs.ErrNotExist
		return fs.ErrNotExist.Error()
	case "PreconditionFailed":
		e.cause = fs.ErrExist
		return fs.ErrExist.Error()
	case "NoSuchBucket":
		e.lasting = true
		return fmt.Sprintf("the bucket %s does not exist", s.bucket)
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired":
		e.lasting = true
		return "the server does not accept the credentials: " + said
	case "RequestTimeTooSkewed":
		e.lasting = true
		return "this machine's clock is not the server's: " + said
	case "PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "MovedPermanently":
		e.lasting = true
		if region := header.Get("X-Amz-Bucket-Region"); region != "" && region != s.region {
			return fmt.Sprintf("the bucket is in the region %s, not %s: set AWS_REGION=%s", region, s.region, region)
		}
		return fmt.Sprintf("the region %s is not the bucket's, or the endpoint is not: %s", s.region, said)
	case "SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestTimeout", "OperationAborted", "ConditionalRequestConflict":
		e.temporary = true
		return "the server is busy: " + said
	}
	switch {
	case status == http.StatusInsufficientStorage, api.ErrorCode() == "QuotaExceeded":
		e.cause = syscall.ENOSPC
		return "the server has no room: " + strings.TrimRight(said, ".") + ": make room, or remove old snapshots with kojisnap prune"
	case status == http.StatusForbidden:
		e.denied = true
		return "access denied: " + said
	case status >= 500 && status != http.StatusNotImplemented, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		e.temporary = true
		return fmt.Sprintf("the server answered HTTP %d: %s", status, said)
	}
	return fmt.Sprintf("the server answered HTTP %d: %s: %s", status, api.ErrorCode(), said)
}

// trouble explains an error without an answer, or with one that could not be parsed.
func (s *Store) trouble(e *Error) string {
	var (
		badTLS   *tls.CertificateVerificationError
		garbled  *smithy.DeserializationError
		response *awshttp.ResponseError
		request  *url.Error
	)
	switch {
	case errors.As(e.cause, &badTLS):
		e.lasting = true
		return badTLS.Error()
	case errors.As(e.cause, &response) && errors.As(e.cause, &garbled):
		return errNotS3.Error()
	case errors.As(e.cause, &request):
		e.temporary = true
		return "the server cannot be reached: " + request.Err.Error()
	case errors.As(e.cause, &response), errors.As(e.cause, new(*awshttp.ResponseTimeoutError)), errors.As(e.cause, new(interface{ ConnectionError() bool })):
		e.temporary = true
	}
	var operation *smithy.OperationError
	if errors.As(e.cause, &operation) {
		return operation.Err.Error()
	}
	return e.cause.Error()
}

// noCredentials: the SDK looks for credentials last at a service on a cloud's network. Elsewhere that
// service is never reachable, so its error must not count as temporary: the message has only its text.
func (s *Store) noCredentials(ctx context.Context, op, name string, err error) error {
	what := strings.TrimRight(op+" "+name, " ") + " in " + s.String()
	if cause := ctx.Err(); cause != nil {
		return fmt.Errorf("%s: %w", what, cause)
	}
	return &Error{text: what + ": no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE to one of ~/.aws (" + strings.Join(strings.Fields(err.Error()), " ") + ")", lasting: true}
}

// isConflict: another conditional write of the same name was under way.
func isConflict(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == "ConditionalRequestConflict"
}

// isUnknown: the server does not know such requests.
func isUnknown(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && (api.ErrorCode() == "NotImplemented" || api.ErrorCode() == "MethodNotAllowed")
}
