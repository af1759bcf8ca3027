package s3test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Upload puts the regular files of a directory into a new bucket as rclone does, and returns the URL of
// that directory in the bucket.
func (s *Server) Upload(t testing.TB, dir string) string {
	t.Helper()
	if s.Endpoint == "" {
		t.Skip("KOJISNAP_TEST_S3 is given: objects of any name are put on a server of the test's own only")
	}
	at := s.URL(t)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		key, err := filepath.Rel(dir, path)
		if err == nil {
			s.Put(t, at, key, body, rcloneTime(info.ModTime()))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func rcloneTime(t time.Time) string { return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()) }

// Put puts an object below the URL of a new bucket, with mtime as its metadata unless that is empty.
func (s *Server) Put(t testing.TB, at, key string, body []byte, mtime string) {
	t.Helper()
	at, _, _ = strings.Cut(at, "?")
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(at, "s3://"), "/")
	in := &s3.PutObjectInput{Bucket: &bucket, Key: aws.String(prefix + "/" + key), Body: bytes.NewReader(body)}
	if mtime != "" {
		in.Metadata = map[string]string{"mtime": mtime}
	}
	if _, err := s.Client().PutObject(t.Context(), in); err != nil {
		t.Fatal(err)
	}
}
