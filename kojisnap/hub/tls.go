package hub

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// tlsConfig is for the certificates that o trusts, nil for Go's defaults.
func tlsConfig(o Options) (*tls.Config, error) {
	switch {
	case o.ServerCA != "":
		pool, err := authorities(o.ServerCA)
		if err != nil {
			return nil, fmt.Errorf("serverca: %w", err)
		}
		return &tls.Config{RootCAs: pool}, nil
	case o.NoVerify:
		return &tls.Config{InsecureSkipVerify: true}, nil
	}
	return nil, nil
}

// authorities reads the certificates of a file or, as Python's requests does, of all files in a
// directory.
func authorities(path string) (*x509.CertPool, error) {
	files := []string{path}
	if entries, err := os.ReadDir(path); err == nil {
		files = files[:0]
		for _, e := range entries {
			if !e.IsDir() {
				files = append(files, filepath.Join(path, e.Name()))
			}
		}
	}
	pool, found := x509.NewCertPool(), false
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		found = pool.AppendCertsFromPEM(text) || found
	}
	if !found {
		return nil, fmt.Errorf("%s: there is no certificate in it (PEM)", path)
	}
	return pool, nil
}

// adviseTLS adds to an error about the hub's certificate what to do; ca is the file of authorities
// that was named.
func adviseTLS(err error, ca string) error {
	var (
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		unknown x509.UnknownAuthorityError
		verify  *tls.CertificateVerificationError
	)
	var record tls.RecordHeaderError
	if errors.As(err, &record) {
		return fmt.Errorf("%w: the server speaks no TLS at that port: is it http:// instead of https://, or another port?", err)
	}
	const name = "name the file of the authority that signed it: serverca in the Koji profile or in [pull] (--serverca FILE), or for any hub the environment variable SSL_CERT_FILE"
	switch {
	case errors.As(err, &host):
		return fmt.Errorf("%w: use the name that the certificate has as the key hub or the profile's server; if a proxy's certificate is meant, %s", err, name)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("%w: is the clock of this machine right? If a new certificate has another authority, %s", err, name)
	case errors.As(err, &unknown) && ca != "":
		return fmt.Errorf("%w: only the authorities in %s are trusted; %s", err, ca, name)
	case errors.As(err, &unknown), errors.As(err, &verify):
		return fmt.Errorf("%w: %s", err, name)
	}
	return err
}
