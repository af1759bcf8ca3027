package hardlink_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// authority signs certificates of test servers.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-24 * 365 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, key := a.sign(t, template)
	cert, err := x509.ParseCertificate(der)
	must(t, err)
	a.cert, a.key = cert, key
	return a
}

// sign signs with the authority's key or, while it has none, with the new key itself.
func (a *authority) sign(t *testing.T, template *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	must(t, err)
	return der, key
}

// A certificate that cannot be trusted is reported once, with advice, and the next source is asked.
func TestWebCertificates(t *testing.T) {
	a := newAuthority(t)
	trusted := x509.NewCertPool()
	trusted.AddCert(a.cert)
	here := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	now := time.Now()
	for name, c := range map[string]struct {
		from, to time.Time
		ips      []net.IP
		names    []string
		roots    *x509.CertPool
		says     string
	}{
		"good":          {now.Add(-time.Hour), now.Add(time.Hour), here, nil, trusted, ""},
		"expired":       {now.Add(-48 * time.Hour), now.Add(-24 * time.Hour), here, nil, trusted, "has expired or is not valid yet"},
		"not valid yet": {now.Add(24 * time.Hour), now.Add(48 * time.Hour), here, nil, trusted, "has expired or is not valid yet"},
		"another name":  {now.Add(-time.Hour), now.Add(time.Hour), nil, []string{"koji.example.com"}, trusted, "is for another name"},
		"another IP":    {now.Add(-time.Hour), now.Add(time.Hour), []net.IP{net.IPv4(192, 0, 2, 1)}, nil, trusted, "is for another name"},
		"not trusted":   {now.Add(-time.Hour), now.Add(time.Hour), here, nil, x509.NewCertPool(), "an authority that this machine does not trust"},
	} {
		t.Run(name, func(t *testing.T) {
			s := onlyBash(t)
			der, key := a.sign(t, &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: c.from, NotAfter: c.to, IPAddresses: c.ips, DNSNames: c.names,
				KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
			var connections atomic.Int32
			web := httptest.NewUnstartedServer(http.FileServer(http.Dir(s.prod)))
			web.Config.ErrorLog = log.New(io.Discard, "", 0)
			web.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					connections.Add(1)
				}
			}
			web.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
			web.StartTLS()
			defer web.Close()
			transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.roots}}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport}
			_, err := s.copy(t, fromWeb(client, web.URL))
			if s.ended(t, err, c.says) {
				return
			}
			if n := connections.Load(); n != 1 {
				t.Errorf("tried %d times", n)
			}
			s.wholeOrAbsent(t)
			s.mustCopy(t, fromWeb(client, web.URL, s.prod))
			s.check(t)
		})
	}
}
