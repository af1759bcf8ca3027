package source

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
)

// tlsError says that a server cannot be trusted. Another try does not help.
type tlsError struct{ error }

func (e *tlsError) Unwrap() error { return e.error }

// tlsProblem says what is wrong with a server's TLS and what to do; "" if the error is not about TLS.
func tlsProblem(err error) string {
	var (
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		verify  *tls.CertificateVerificationError
		record  tls.RecordHeaderError
		alert   tls.AlertError
	)
	switch {
	case errors.As(err, &unknown):
		return "the server's certificate is signed by an authority that this machine does not trust: install that authority's certificate (SSL_CERT_FILE names one, too)"
	case errors.As(err, &host):
		return fmt.Sprintf("the server's certificate is for another name (%v): correct the URL or the server", host)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("the server's certificate has expired or is not valid yet (%s): correct the server, or this machine's clock", invalid.Detail)
	case errors.As(err, &verify):
		return fmt.Sprintf("the server's certificate: %v", verify.Err)
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "the server does not speak TLS at this port: correct the URL"
	case errors.As(err, &alert):
		return fmt.Sprintf("the server refuses TLS as this machine speaks it: %v", alert)
	}
	return ""
}
