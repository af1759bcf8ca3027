// Package s3test gives tests a real S3 server.
//
// It is the first of these that is available: the bucket that KOJISNAP_TEST_S3 names (an s3:// URL of
// package s3, with AWS_* of the environment); Versity's S3 gateway in a container that testcontainers-go
// starts, if a Docker engine runs; the gateway as a process. The go command builds the gateway at its
// first use and keeps it in the user's cache directory.
package s3test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
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

// Server is an S3 server for one test and its subtests.
type Server struct {
	// Endpoint is the gateway's URL. It is empty if the user gave a bucket: tests do not administer that
	// bucket's server.
	Endpoint string

	given string // KOJISNAP_TEST_S3
	query string // of its URLs
	names atomic.Int64
}

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

// Start starts a server, which stops when the test ends. It sets the AWS_* variables of the
// environment, so the test cannot be parallel.
func Start(t testing.TB) *Server {
	t.Helper()
	if os.Getenv("KOJISNAP_TEST_S3") == "" {
		setEnvironment(t)
	}
	s := StartParallel(t)
	if s.query = ""; s.Endpoint != "" {
		t.Setenv("AWS_ENDPOINT_URL", s.Endpoint)
	}
	return s
}

// StartParallel is Start for tests that are parallel: their package calls Environment, and the server's URLs name its
// endpoint.
func StartParallel(t testing.TB) *Server {
	t.Helper()
	if given := os.Getenv("KOJISNAP_TEST_S3"); given != "" {
		return &Server{given: given}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	binary := program(ctx, t)
	candidates, stop, docker := container(ctx, binary)
	if docker != nil {
		var err error
		if candidates, stop, err = process(binary, t.TempDir()); err != nil {
			t.Fatalf("no S3 server for tests: set KOJISNAP_TEST_S3, or start Docker (%v); the gateway as a process: %v", docker, err)
		}
	}
	return serve(ctx, t, candidates, stop)
}

// StartIn is Start for a gateway that is a process and keeps its data in dir. It ignores KOJISNAP_TEST_S3.
func StartIn(t testing.TB, dir string) *Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	setEnvironment(t)
	candidates, stop, err := process(program(ctx, t), dir)
	if err != nil {
		t.Fatal(err)
	}
	s := serve(ctx, t, candidates, stop)
	s.query = ""
	t.Setenv("AWS_ENDPOINT_URL", s.Endpoint)
	return s
}

func setEnvironment(t testing.TB) {
	t.Helper()
	for name, value := range environment {
		t.Setenv(name, value)
	}
}

// program returns the gateway's program.
func program(ctx context.Context, t testing.TB) string {
	t.Helper()
	binary, err := gateway(ctx)
	if err != nil {
		t.Fatalf("no S3 server for tests: set KOJISNAP_TEST_S3, or make it possible to build one: %v", err)
	}
	return binary
}

func serve(ctx context.Context, t testing.TB, candidates []string, stop func()) *Server {
	t.Helper()
	t.Cleanup(stop)
	endpoint, err := answering(ctx, candidates)
	if err != nil {
		t.Fatal(err)
	}
	return &Server{Endpoint: endpoint, query: "?endpoint=" + endpoint}
}

// URL returns the URL of an empty place of a store, in a bucket of its own where that is possible.
func (s *Server) URL(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("kojisnap-test-%d-%d", time.Now().UnixNano(), s.names.Add(1))
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

// answering waits for the server at one of some addresses.
func answering(ctx context.Context, candidates []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}} // no proxy
	defer client.CloseIdleConnections()
	for {
		var last error
		for _, hostport := range candidates {
			endpoint := (&url.URL{Scheme: "http", Host: hostport}).String()
			r, err := client.Get(endpoint)
			if err == nil {
				r.Body.Close()
				return endpoint, nil
			}
			last = err
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("the S3 server does not answer: %w", last)
		case <-time.After(50 * time.Millisecond):
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
