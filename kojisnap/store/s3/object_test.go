package s3_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"syscall"
	"testing"
	"time"

	"kojisnap/kojisnap/store/s3"
	"kojisnap/kojisnap/store/s3/s3test"
)

// TestObject opens objects with names and times of others.
func TestObject(t *testing.T) {
	srv := s3test.Start(t)
	if srv.Endpoint == "" {
		t.Skip("KOJISNAP_TEST_S3 is given: it gets no objects of any name")
	}
	at := srv.URL(t)
	s := open(t, at)
	body := random(100_000)
	for i, test := range []struct {
		mtime string
		want  time.Time // zero: when it was put
	}{
		{"1745222400.123456789", time.Unix(1745222400, 123456789)},
		{"1745222400", time.Unix(1745222400, 0)},
		{"1745222400.5", time.Unix(1745222400, 500000000)},
		{"", time.Time{}}, {"yesterday", time.Time{}}, {"-5", time.Time{}}, {"1e9", time.Time{}}, {"1.-5", time.Time{}}, {"99999999999999999999", time.Time{}}, {"99999999999", time.Time{}},
	} {
		key := fmt.Sprintf("packages/libstdc++/1~rc1/2.fc42^git/x86_64/a b+c~%d.rpm", i)
		srv.Put(t, at, key, body, test.mtime)
		r, size, mtime, err := s.Object(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, body) || size != int64(len(body)) {
			t.Errorf("%d bytes of %d: %v", len(got), size, err)
		}
		r.Close()
		if test.want.IsZero() {
			if time.Since(mtime).Abs() > 24*time.Hour {
				t.Errorf("mtime %q: %v", test.mtime, mtime)
			}
		} else if !mtime.Equal(test.want) {
			t.Errorf("mtime %q: %v, want %v", test.mtime, mtime, test.want)
		}
	}
	if _, _, _, err := s.Object(t.Context(), "packages/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no object: %v", err)
	}
	for _, key := range []string{"", ".", "..", "../prefix/a", "/a", "a//b", "a/../b", "a\xff"} {
		if _, _, _, err := s.Object(t.Context(), key); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", key, err)
		}
	}
}

// TestObjectReplaced: that an object is another now is told as such.
func TestObjectReplaced(t *testing.T) {
	srv := s3test.Start(t)
	s, _ := faulty(t, srv, func(n int, r *http.Request) action {
		if n == 1 {
			return action{cut: 50_000}
		}
		return action{}
	})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.Put(t.Context(), "a", bytes.NewReader(random(100_000))))
	r, _, _, err := s.Object(t.Context(), "a")
	must(err)
	defer r.Close()
	must(s.Put(t.Context(), "a", bytes.NewReader(random(100_001))))
	_, err = io.Copy(io.Discard, r)
	var failed *s3.Error
	if !errors.Is(err, syscall.ESTALE) || !errors.As(err, &failed) || failed.Temporary() {
		t.Errorf("error %v, want %v", err, syscall.ESTALE)
	}
}
