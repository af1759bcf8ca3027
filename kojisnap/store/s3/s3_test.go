package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/store/s3"
	"kojisnap/kojisnap/store/s3/s3test"
	"kojisnap/kojisnap/store/storetest"
)

func TestContract(t *testing.T) {
	srv := s3test.Start(t)
	open := func(t *testing.T) store.Store { return srv.Open(t) }
	storetest.Run(t, open)
	storetest.RunCreator(t, open)
	t.Run("clean", func(t *testing.T) {
		if srv.Endpoint == "" {
			t.Skip("KOJISNAP_TEST_S3 is given: no uploads are begun there that another could not end")
		}
		// As a process that is killed: it has begun, sent a part, and never came to the end.
		storetest.RunCleaner(t, open, func(t *testing.T, s store.Store, name string) string {
			t.Helper()
			bucket, prefix, _ := strings.Cut(strings.TrimPrefix(s.String(), "s3://"), "/")
			key := aws.String(prefix + "/" + name)
			up, err := srv.Client().CreateMultipartUpload(t.Context(), &awss3.CreateMultipartUploadInput{Bucket: &bucket, Key: key})
			if err != nil {
				t.Fatal(err)
			}
			_, err = srv.Client().UploadPart(t.Context(), &awss3.UploadPartInput{
				Bucket: &bucket, Key: key, UploadId: up.UploadId, PartNumber: aws.Int32(1), Body: bytes.NewReader(random(1000)),
			})
			if err != nil {
				t.Fatal(err)
			}
			return name + " uploaded in part"
		})
	})
}

// TestLarge puts objects around the size from which they go up in parts.
func TestLarge(t *testing.T) {
	s := s3test.Start(t).Open(t)
	const part = 8 << 20
	for _, size := range []int{part - 1, part, part + 1, 3*part + 12345} {
		body := random(size)
		name := fmt.Sprintf("segments/%d.zst", size)
		r := bytes.NewReader(append([]byte("before"), body...))
		if _, err := r.Seek(6, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if err := s.Put(t.Context(), name, r); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(read(t, s, name), body) {
			t.Errorf("%d bytes came back changed", size)
		}
		if err := s.Create(t.Context(), name, bytes.NewReader(random(size))); !errors.Is(err, fs.ErrExist) {
			t.Errorf("Create over %d bytes: %v, want fs.ErrExist", size, err)
		}
		if err := s.Create(t.Context(), name+".new", bytes.NewReader(body)); err != nil {
			t.Errorf("Create of %d bytes: %v", size, err)
		}
		if !bytes.Equal(read(t, s, name), body) || !bytes.Equal(read(t, s, name+".new"), body) {
			t.Errorf("%d bytes changed by Create", size)
		}
	}
}

// TestUnfinished: an upload in parts that ends early leaves no object and takes its parts back.
// (After a cancel a server may still be storing a part whose upload is given up: nobody can say
// when it is gone.)
func TestUnfinished(t *testing.T) {
	srv := s3test.Start(t)
	if srv.Endpoint == "" {
		t.Skip("KOJISNAP_TEST_S3 is given: its uploads are not ours to list")
	}
	url := srv.URL(t)
	s := open(t, url)
	if err := s.Put(t.Context(), "x", strings.NewReader("old")); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("source broke")
	body := random(40 << 20)
	failing := &endsEarly{Reader: bytes.NewReader(body), after: 30 << 20, end: func() error { return broken }}
	if err := s.Put(t.Context(), "x", failing); !errors.Is(err, broken) {
		t.Errorf("a source that breaks: %v", err)
	}
	bucket := strings.Split(url, "/")[2]
	left, err := srv.Client().ListMultipartUploads(t.Context(), &awss3.ListMultipartUploadsInput{Bucket: &bucket})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range left.Uploads {
		t.Errorf("parts of %s are left", aws.ToString(u.Key))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancelling := &endsEarly{Reader: bytes.NewReader(body), after: 30 << 20, end: func() error { cancel(); return nil }}
	if err := s.Put(ctx, "x", cancelling); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if got := read(t, s, "x"); string(got) != "old" {
		t.Errorf("the object is %d bytes now", len(got))
	}
}

// TestPages lists more objects than one answer holds.
func TestPages(t *testing.T) {
	s := s3test.Start(t).Open(t)
	const n = 1005
	var wg sync.WaitGroup
	next := make(chan int)
	for range 8 {
		wg.Go(func() {
			for i := range next {
				if err := s.Put(t.Context(), fmt.Sprintf("segments/%04d", i), strings.NewReader(fmt.Sprint(i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	entries, err := s.List(t.Context(), "segments/")
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for i, e := range entries {
		got = append(got, fmt.Sprint(e.Name, " ", e.Size))
		want = append(want, fmt.Sprintf("segments/%04d %d", i, len(fmt.Sprint(i))))
		if age := time.Since(e.ModTime); age < -time.Hour || age > time.Hour {
			t.Errorf("%s: time %s", e.Name, e.ModTime)
		}
	}
	if len(got) != n || !slices.Equal(got, want) {
		t.Errorf("%d entries, want %d", len(got), n)
	}
}

// TestNeighbours: a store sees nothing of a bucket but what is below its prefix.
func TestNeighbours(t *testing.T) {
	url := s3test.Start(t).URL(t)
	at, query, _ := strings.Cut(url, "?")
	s := open(t, url)
	for _, other := range []string{at + "-2?" + query, at + "/deeper/.hidden?" + query} {
		o, err := s3.Open(t.Context(), other, s3.Options{})
		if err != nil {
			continue // no prefix of a store
		}
		if err := o.Put(t.Context(), "a", strings.NewReader("theirs")); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { o.Delete(context.Background(), "a") })
	}
	if err := s.Put(t.Context(), "a", strings.NewReader("ours")); err != nil {
		t.Fatal(err)
	}
	entries, err := s.List(t.Context(), "")
	if err != nil || len(entries) != 1 || entries[0].Name != "a" || entries[0].Size != 4 {
		t.Errorf("%+v, %v", entries, err)
	}
}

// TestRefused: each way that a server refuses gives a line that says what to do.
func TestRefused(t *testing.T) {
	srv := s3test.Start(t)
	if srv.Endpoint == "" {
		t.Skip("KOJISNAP_TEST_S3 is given: its server's settings are not ours")
	}
	url := srv.URL(t)
	page := httptest.NewServer(htmlPage{})
	t.Cleanup(page.Close)
	gone := httptest.NewServer(htmlPage{})
	gone.Close()
	for _, test := range []struct {
		name, url string
		env       map[string]string
		want      string
		temporary bool
	}{
		{name: "no bucket", url: "s3://no-such-bucket/p", want: "list snapshots/ in s3://no-such-bucket/p: the bucket no-such-bucket does not exist"},
		{name: "unknown key", url: url, env: map[string]string{"AWS_ACCESS_KEY_ID": "somebody"}, want: "the server does not accept the credentials: The AWS Access Key Id"},
		{name: "wrong secret", url: url, env: map[string]string{"AWS_SECRET_ACCESS_KEY": "wrong"}, want: "the server does not accept the credentials: "},
		{name: "no credentials", url: url, env: map[string]string{"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, want: "no credentials: set AWS_ACCESS_KEY_ID"},
		{name: "wrong region", url: url + "?region=eu-north-1", want: "the region eu-north-1 is not the bucket's"},
		{name: "not S3", url: "s3://bucket/p?endpoint=" + page.URL, want: "is not S3"},
		{name: "nobody there", url: "s3://bucket/p?endpoint=" + gone.URL, want: "the server cannot be reached: ", temporary: true},
		{name: "no such host", url: "s3://bucket/p?endpoint=http://s3.invalid", want: "the server cannot be reached: ", temporary: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			for name, value := range test.env {
				t.Setenv(name, value)
			}
			s := open(t, test.url)
			_, err := s.List(t.Context(), "snapshots/")
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, want %q", err, test.want)
			}
			var failed *s3.Error
			if got := errors.As(err, &failed) && failed.Temporary(); got != test.temporary {
				t.Errorf("temporary: %v, want %v", got, test.temporary)
			}
			for op, err := range map[string]error{
				"Put":    s.Put(t.Context(), "a", strings.NewReader("1")),
				"Create": s.Create(t.Context(), "a", strings.NewReader("1")),
				"Get":    get(t.Context(), s, "a"),
			} {
				if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
					t.Errorf("%s: %v", op, err)
				}
				if got := errors.As(err, &failed) && failed.Temporary(); got != test.temporary {
					t.Errorf("%s: %v: temporary %v, want %v", op, err, got, test.temporary)
				}
			}
		})
	}
}

// open opens a store that sends requests again almost at once.
func open(t testing.TB, url string) *s3.Store {
	t.Helper()
	s, err := s3.Open(t.Context(), url, s3.Options{MaxPause: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func get(ctx context.Context, s *s3.Store, name string) error {
	r, err := s.Get(ctx, name)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return errors.Join(err, r.Close())
}

func read(t testing.TB, s *s3.Store, name string) []byte {
	t.Helper()
	r, err := s.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// random bytes are the same each time.
func random(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

// endsEarly calls end when it has given some bytes.
type endsEarly struct {
	*bytes.Reader
	after int64
	end   func() error
}

func (r *endsEarly) Read(p []byte) (int, error) {
	if r.Size()-int64(r.Len()) >= r.after {
		if err := r.end(); err != nil {
			return 0, err
		}
	}
	return r.Reader.Read(p[:min(len(p), 1<<20)])
}

// WriteTo would go past Read.
func (r *endsEarly) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{r})
}
