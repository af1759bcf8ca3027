package s3_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"testing"

	"kojisnap/kojisnap/store/s3/s3test"
)

// TestStrictServers: servers that refuse the condition or the checksum that the SDK sends, or both.
// Objects go up all the same, whole or in parts, and what is there is not written again.
func TestStrictServers(t *testing.T) {
	srv := s3test.Start(t)
	checksum := func(r *http.Request) bool {
		for name := range r.Header {
			if name = strings.ToLower(name); strings.HasPrefix(name, "x-amz-checksum-") || name == "x-amz-trailer" || name == "x-amz-sdk-checksum-algorithm" {
				return true
			}
		}
		return false
	}
	condition := func(r *http.Request) bool { return r.Header.Get("If-None-Match") != "" }
	for _, status := range []int{http.StatusBadRequest, http.StatusNotImplemented} {
		for name, refuses := range map[string]func(r *http.Request) bool{
			"condition": condition, "checksum": checksum, "both": func(r *http.Request) bool { return condition(r) || checksum(r) },
		} {
			t.Run(fmt.Sprintf("%s, %d", name, status), func(t *testing.T) {
				s, p := faulty(t, srv, func(n int, r *http.Request) action {
					if (r.Method == http.MethodPut || r.Method == http.MethodPost) && refuses(r) {
						return action{status: status}
					}
					return action{}
				})
				for _, size := range []int{10, 20 << 20} {
					object := fmt.Sprintf("a%d", size)
					body := random(size)
					if err := s.Create(t.Context(), object, bytes.NewReader(body)); err != nil {
						t.Fatal(err)
					}
					if err := s.Create(t.Context(), object, strings.NewReader("other")); !errors.Is(err, fs.ErrExist) {
						t.Errorf("again: %v", err)
					}
					if !bytes.Equal(read(t, s, object), body) {
						t.Error("the body changed")
					}
				}
				before := len(p.log)
				if err := s.Put(t.Context(), "b", strings.NewReader("b")); err != nil || len(p.log) != before+1 {
					t.Errorf("%v, %d requests for an object: what was learnt is forgotten", err, len(p.log)-before)
				}
			})
		}
	}
}

// TestRefusedForGood: what no manner of sending cures is told as the server said it first.
func TestRefusedForGood(t *testing.T) {
	s, p := faulty(t, s3test.Start(t), func(int, *http.Request) action { return action{status: http.StatusBadRequest} })
	if err := s.Put(t.Context(), "a", strings.NewReader("1")); err == nil || !strings.Contains(err.Error(), "HTTP 400") || len(p.log) > 2 {
		t.Errorf("%v, %d requests", err, len(p.log))
	}
}
