package s3

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Object opens an object that does not belong to a store, by its key below the prefix: a path of any
// characters. The caller closes it. size is -1 and mtime zero if the server does not send them. A
// missing object is fs.ErrNotExist. A read is resumed as that of Get; if the object was replaced
// meanwhile, the error is syscall.ESTALE.
func (s *Store) Object(ctx context.Context, key string) (r io.ReadCloser, size int64, mtime time.Time, err error) {
	if !fs.ValidPath(key) || key == "." {
		return nil, 0, mtime, fmt.Errorf("get %q in %s: this is not a path", key, s)
	}
	if err := s.ready(ctx, "get", key); err != nil {
		return nil, 0, mtime, err
	}
	b, err := s.get(ctx, key, s.prefix+key)
	if err != nil {
		return nil, 0, mtime, err
	}
	return b, b.size, b.mtime, nil
}

// mtime is when the object was written. If rclone or s3fs wrote it and recorded the modification time
// of the copied file, it is that time.
func mtime(out *s3.GetObjectOutput) time.Time {
	if t, ok := parseTime(out.Metadata["mtime"]); ok {
		return t
	}
	return aws.ToTime(out.LastModified)
}

// parseTime reads seconds since 1970, of rclone with a fraction.
func parseTime(text string) (t time.Time, ok bool) {
	const last = 1 << 33 // the year 2242: nanoseconds go to 2262
	whole, fraction, _ := strings.Cut(text, ".")
	seconds, err := strconv.ParseUint(whole, 10, 64)
	if err != nil || seconds >= last {
		return t, false
	}
	nano, err := strconv.ParseUint((fraction + "000000000")[:9], 10, 64)
	if err != nil {
		return t, false
	}
	return time.Unix(int64(seconds), int64(nano)), true
}

// Objects calls each for each object whose key, below the store's prefix, begins with prefix, in order of the keys. It stops at an
// error of each.
func (s *Store) Objects(ctx context.Context, prefix string, each func(key string, size int64) error) error {
	if err := s.ready(ctx, "list", prefix); err != nil {
		return err
	}
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: aws.String(s.prefix + prefix)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return s.fail(ctx, "list", prefix, err)
		}
		for _, o := range page.Contents {
			if key, ok := strings.CutPrefix(aws.ToString(o.Key), s.prefix); ok {
				if err := each(key, aws.ToInt64(o.Size)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
