// Package s3test gives tests a real S3 server.
//
// It is the bucket that KOJISNAP_TEST_S3 names (an s3:// URL of package s3, with AWS_* of the environment), else
// Versity's S3 gateway: the one at KOJISNAP_TEST_S3_ENDPOINT, which StartServer has started for a whole run of the
// tests, in a container, else a process for all tests of a package. The go command builds the gateway at its first
// use; it is kept in the user's cache directory.
package s3test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	kojis3 "kojisnap/kojisnap/store/s3"
)

// The region of the gateway, and the key of its administrator.
const (
	Region    = "us-east-1"
	AccessKey = "kojisnap-test"
	SecretKey = "kojisnap-test-secret"
)

// Server is an S3 server.
type Server struct {
	// Endpoint is the gateway's URL. It is empty if the user gave a bucket: tests do not administer that
	// bucket's server.
	Endpoint string

	given string // KOJISNAP_TEST_S3
	query string // of its URLs
	dir   string // where the gateway keeps all; empty if that is in a container
	stop  func() // kept as long as the server: it holds the pipe whose end stops the gateway
}

var (
	shared     *Server // of all tests of this process
	sharedLock sync.Mutex
	names      atomic.Int64
)

// environment is what programs need to use a server of this package, but for AWS_ENDPOINT_URL.
var environment = map[string]string{
	"AWS_ACCESS_KEY_ID": AccessKey, "AWS_SECRET_ACCESS_KEY": SecretKey, "AWS_SESSION_TOKEN": "", "AWS_REGION": Region,
	"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	"AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_S3": "", "AWS_PROFILE": "",
}

// Environment sets the AWS_* variables of the environment for all tests of a package, whose TestMain calls it.
func Environment() {
	if os.Getenv("KOJISNAP_TEST_S3") != "" {
		return
	}
	for name, value := range environment {
		os.Setenv(name, value)
	}
}

// Start returns the server of all tests of a package, and starts it if need be. It sets the AWS_* variables of the
// environment for this test and its subtests, so the test cannot be parallel.
func Start(t testing.TB) *Server {
	t.Helper()
	s := StartParallel(t)
	s.setenv(t)
	return s
}

// StartParallel is Start for tests that are parallel: their package calls Environment, and the server's URLs name its
// endpoint.
func StartParallel(t testing.TB) *Server {
	t.Helper()
	if given := os.Getenv("KOJISNAP_TEST_S3"); given != "" {
		return &Server{given: given}
	}
	sharedLock.Lock()
	defer sharedLock.Unlock()
	if endpoint := os.Getenv("KOJISNAP_TEST_S3_ENDPOINT"); endpoint != "" {
		shared = &Server{Endpoint: endpoint, query: "?endpoint=" + endpoint}
	}
	if shared == nil {
		var err error
		if shared, err = start(t.Context(), os.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	s := *shared
	return &s
}

// StartIn starts a gateway for this test alone, which keeps its data below dir. It ignores KOJISNAP_TEST_S3.
func StartIn(t testing.TB, dir string) *Server {
	t.Helper()
	s, err := start(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	s.setenv(t)
	return s
}

// start starts a gateway.
func start(ctx context.Context, dir string) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	binary, err := gateway(ctx)
	if err != nil {
		return nil, fmt.Errorf("no S3 server for tests: set KOJISNAP_TEST_S3, or make it possible to build one: %w", err)
	}
	hostport, kept, stop, err := process(binary, dir)
	if err != nil {
		return nil, fmt.Errorf("no S3 server for tests: %w", err)
	}
	endpoint, err := answering(ctx, []string{hostport})
	if err != nil {
		stop()
		return nil, err
	}
	return &Server{Endpoint: endpoint, query: "?endpoint=" + endpoint, dir: kept, stop: stop}, nil
}

// setenv names the server in the environment, and not in its URLs.
func (s *Server) setenv(t testing.TB) {
	t.Helper()
	if s.Endpoint == "" {
		return
	}
	for name, value := range environment {
		t.Setenv(name, value)
	}
	t.Setenv("AWS_ENDPOINT_URL", s.Endpoint)
	s.query = ""
}

// URL returns the URL of an empty place of a store, in a bucket of its own where that is possible.
func (s *Server) URL(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("kojisnap-test-%d-%d", time.Now().UnixNano(), names.Add(1))
	if s.given != "" {
		base, query, _ := strings.Cut(s.given, "?")
		at := strings.TrimSuffix(base, "/") + "/" + name + "?" + query
		t.Cleanup(func() { empty(t, at) })
		return at
	}
	_, err := s.Client().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name})
	if err != nil {
		t.Fatal(err)
	}
	if s.dir == "" {
		return "s3://" + name + "/some/prefix" + s.query
	}
	t.Cleanup(func() { // the room of what was put there is other tests'
		if err := errors.Join(os.RemoveAll(filepath.Join(s.dir, "data", name)), os.RemoveAll(filepath.Join(s.dir, "sidecar", name))); err != nil {
			t.Error(err)
		}
	})
	return "s3://" + name + "/some/prefix" + s.query
}

// Open opens a store in an empty place.
func (s *Server) Open(t testing.TB) *kojis3.Store {
	t.Helper()
	st, err := kojis3.Open(t.Context(), s.URL(t), kojis3.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// Client is a client of the gateway with all rights.
func (s *Server) Client() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(s.Endpoint), Region: Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(AccessKey, SecretKey, ""),
	})
}

// empty removes what a test left in a bucket that stays.
func empty(t testing.TB, at string) {
	ctx := context.Background()
	st, err := kojis3.Open(ctx, at, kojis3.Options{})
	if err != nil {
		t.Error(err)
		return
	}
	entries, err := st.List(ctx, "")
	if err != nil {
		t.Error(err)
	}
	for _, e := range entries {
		if err := st.Delete(ctx, e.Name); err != nil {
			t.Error(err)
		}
	}
}

// answering waits until the gateway answers at one of its addresses, and returns its URL.
func answering(ctx context.Context, hostports []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}} // no proxy
	defer client.CloseIdleConnections()
	for {
		var last error
		for _, hostport := range hostports {
			r, err := client.Get("http://" + hostport)
			if err == nil {
				return "http://" + hostport, r.Body.Close()
			}
			last = err
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("the S3 server does not answer: %w", last)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Strict serves the same objects behind a server that supports neither If-None-Match nor the SDK's
// checksums, and answers 501 to them. It returns the URL of an empty place for a store there, and how often
// it refused. It needs a gateway: see Endpoint.
func (s *Server) Strict(t testing.TB) (store string, refused *atomic.Int64) {
	t.Helper()
	target, err := url.Parse(s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	refused = new(atomic.Int64)
	through := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // it is signed
	}}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != "" || r.Header.Get("X-Amz-Checksum-Crc32") != "" || r.Header.Get("X-Amz-Trailer") != "" {
			refused.Add(1)
			http.Error(w, "<Error><Code>NotImplemented</Code><Message>A header you provided is not implemented</Message></Error>", http.StatusNotImplemented)
			return
		}
		through.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	at, _, _ := strings.Cut(s.URL(t), "?")
	return at + "?endpoint=" + front.URL, refused
}
