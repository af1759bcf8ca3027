// Package s3 is a store in a bucket of Amazon S3 or of any server that speaks its protocol: an
// object is an object, its name the key below the store's prefix.
//
// The package finds region, endpoint, proxy and credentials as the AWS command line does: in the
// environment (AWS_ENDPOINT_URL, AWS_REGION, AWS_PROFILE, AWS_ACCESS_KEY_ID, …), ~/.aws, a
// container's or a machine's role. Requests that may succeed later are sent again, three times
// or as AWS_MAX_ATTEMPTS says; what fails even so is an *Error that is Temporary.
//
// Large objects are uploaded in parts. A process that is killed meanwhile leaves parts, which take room
// and which no listing shows. Clean, or a rule of the bucket (AbortIncompleteMultipartUpload), removes
// them.
package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsretry "github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"kojisnap/kojisnap/retry"
	"kojisnap/kojisnap/slow"
	"kojisnap/kojisnap/store"
)

// Objects of at least this size are uploaded in parts. A part that fails is sent again alone. Each Put
// holds at most putParts parts in memory.
const (
	partSize = 8 << 20
	putParts = 3
)

// maxCreate is the size from which Create uses parts. Their upload is wasted if the object exists.
const maxCreate = 64 << 20

// silence is how long a server may take to begin its answer, and between its bytes.
const silence = 3 * time.Minute

// Options have the settings that the environment lacks.
type Options struct {
	Endpoint    string // URL of a server that is not Amazon's; empty: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL
	Region      string // empty: AWS_REGION, the profile's; us-east-1 where there is none
	VirtualHost bool   // the bucket is a part of an endpoint's host name, not of the path

	Log       *slog.Logger  // messages of the SDK, at level debug; nil discards
	MaxPause  time.Duration // the longest wait before a request is sent again; default 20 seconds
	SlowAfter time.Duration // over how long the rate of an answer is measured, see package slow; default a minute
}

// Store is a bucket, or the objects in it whose keys have a prefix. Objects appear whole: S3 shows an
// object only after its last byte was written.
type Store struct {
	client *s3.Client
	upload [2]*transfermanager.Client // with the SDK's checksums; without them, where they are not required
	learnt learnt
	log    *slog.Logger
	creds  aws.CredentialsProvider
	region string
	bucket string
	prefix string // of keys: empty, or with a slash at its end
}

// Open returns the store at s3://BUCKET/PREFIX. The URL may end in ?endpoint=URL, ?region=NAME
// and ?path-style=false, which override the options. Open reads configuration files but asks no server:
// a wrong bucket is an error of the first use.
func Open(ctx context.Context, url string, o Options) (*Store, error) {
	at, err := parse(url, o)
	if err != nil {
		return nil, err
	}
	if at.Log == nil {
		at.Log = slog.New(slog.DiscardHandler)
	}
	cfg, err := config.LoadDefaultConfig(ctx,
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) { t.ResponseHeaderTimeout = silence })),
		config.WithLogger(logging.LoggerFunc(func(class logging.Classification, format string, v ...any) {
			at.Log.DebugContext(ctx, "s3: "+fmt.Sprintf(format, v...), "class", string(class))
		})))
	if err != nil {
		return nil, fmt.Errorf("store %s: the AWS configuration: %w", at.name(), err)
	}
	cfg.HTTPClient = slow.Client{Send: cfg.HTTPClient.Do, Silence: silence, Window: o.SlowAfter}
	client := s3.NewFromConfig(cfg, func(c *s3.Options) {
		if at.Endpoint != "" {
			c.BaseEndpoint = aws.String(at.Endpoint)
		}
		if at.Region != "" {
			c.Region = at.Region
		}
		if c.Region == "" {
			c.Region = "us-east-1" // S3's default, which other servers accept as theirs
		}
		// Servers other than Amazon's rarely have a name in the DNS for every bucket.
		c.UsePathStyle = c.BaseEndpoint != nil && !at.VirtualHost
		c.DisableLogOutputChecksumValidationSkipped = true
		if o.MaxPause > 0 {
			c.Retryer = awsretry.AddWithMaxBackoffDelay(c.Retryer, o.MaxPause)
		}
	})
	s := &Store{client: client, creds: client.Options().Credentials, region: client.Options().Region, bucket: at.bucket, prefix: at.prefix, log: at.Log}
	s.upload[0] = uploader(client)
	s.upload[1] = uploader(s3.New(client.Options(), func(c *s3.Options) { c.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired }))
	// AWS_REQUEST_CHECKSUM_CALCULATION says so from the beginning.
	s.learnt.plain = client.Options().RequestChecksumCalculation == aws.RequestChecksumCalculationWhenRequired
	return s, nil
}

func uploader(client *s3.Client) *transfermanager.Client {
	return transfermanager.New(client, func(t *transfermanager.Options) {
		t.PartSizeBytes, t.MultipartUploadThreshold, t.Concurrency = partSize, partSize, putParts-1
		t.FailTimeout = 30 * time.Second // to remove the parts of a cancelled upload
		t.RequestChecksumCalculation = client.Options().RequestChecksumCalculation
	})
}

// String is the store's URL without its query.
func (s *Store) String() string {
	return strings.TrimSuffix("s3://"+s.bucket+"/"+s.prefix, "/")
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, name string, src io.ReadSeeker) error {
	return s.put(ctx, "put", name, src, nil)
}

// Create implements store.Creator with If-None-Match. If the server ignores or refuses that header, Create
// detects only an object that existed when it began. If an answer was lost and the request was sent again,
// fs.ErrExist may mean this very object.
func (s *Store) Create(ctx context.Context, name string, src io.ReadSeeker) error {
	start, err := src.Seek(0, io.SeekCurrent)
	if err != nil {
		return fmt.Errorf("create %s in %s: %w", name, s, err)
	}
	for try := 1; ; try++ {
		if err := s.absent(ctx, name); err != nil {
			return err
		}
		err := s.put(ctx, "create", name, src, aws.String("*"), func(t *transfermanager.Options) { t.MultipartUploadThreshold = maxCreate })
		var failed *Error
		switch {
		case try < 5 && isConflict(err):
			// Another writer of the same name is under way: the next try finds its result.
			if err := retry.Sleep(ctx, time.Duration(try)*200*time.Millisecond); err != nil {
				return fmt.Errorf("create %s in %s: %w", name, s, err)
			}
		case try < 2 && errors.As(err, &failed) && failed.Temporary():
			// Some servers refuse by closing the connection while the body is sent.
		default:
			return err
		}
		if _, err := src.Seek(start, io.SeekStart); err != nil {
			return fmt.Errorf("create %s in %s: %w", name, s, err)
		}
	}
}

// absent returns fs.ErrExist if an object is there.
func (s *Store) absent(ctx context.Context, name string) error {
	key, err := s.key(ctx, "create", name)
	if err != nil {
		return err
	}
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.bucket, Key: &key})
	if err == nil {
		if aws.ToString(out.ETag) == "" {
			return fmt.Errorf("create %s in %s: %w", name, s, errNotS3)
		}
		return fmt.Errorf("create %s in %s: %w", name, s, fs.ErrExist)
	}
	if err = s.fail(ctx, "create", name, err); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Get implements store.Store. If a connection breaks, it asks for the rest again, as long as the object
// is the same.
func (s *Store) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	key, err := s.key(ctx, "get", name)
	if err != nil {
		return nil, err
	}
	b, err := s.get(ctx, name, key)
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (s *Store) get(ctx context.Context, name, key string) (*body, error) {
	out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.bucket, Key: &key})
	if err != nil {
		return nil, s.fail(ctx, "get", name, err)
	}
	if aws.ToString(out.ETag) == "" {
		out.Body.Close()
		return nil, fmt.Errorf("get %s in %s: %w", name, s, errNotS3)
	}
	return newBody(ctx, s, name, key, out), nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix string) ([]store.Entry, error) {
	if err := s.ready(ctx, "list", prefix); err != nil {
		return nil, err
	}
	var entries []store.Entry
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &s.bucket, Prefix: aws.String(s.prefix + prefix)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, s.fail(ctx, "list", prefix, err)
		}
		for _, o := range page.Contents {
			name, ok := strings.CutPrefix(aws.ToString(o.Key), s.prefix)
			if !ok || store.CheckName(name) != nil {
				continue // not ours
			}
			entries = append(entries, store.Entry{Name: name, Size: aws.ToInt64(o.Size), ModTime: aws.ToTime(o.LastModified)})
		}
	}
	return store.Sort(entries), nil
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, name string) error {
	key, err := s.key(ctx, "delete", name)
	if err != nil {
		return err
	}
	_, err = s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.bucket, Key: &key})
	if err = s.fail(ctx, "delete", name, err); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Clean implements store.Cleaner: it finds uploads in parts that were never completed. A server without
// such uploads has none.
func (s *Store) Clean(ctx context.Context, prefix string, before time.Time, remove bool) ([]string, error) {
	const op = "list unfinished uploads of"
	if err := s.ready(ctx, op, prefix); err != nil {
		return nil, err
	}
	var left []string
	pages := s3.NewListMultipartUploadsPaginator(s.client, &s3.ListMultipartUploadsInput{Bucket: &s.bucket, Prefix: aws.String(s.prefix + prefix)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if isUnknown(err) {
			return nil, nil
		}
		if err != nil {
			return nil, s.fail(ctx, op, prefix, err)
		}
		for _, u := range page.Uploads {
			name, ok := strings.CutPrefix(aws.ToString(u.Key), s.prefix)
			if !ok || store.CheckName(name) != nil || !aws.ToTime(u.Initiated).Before(before) {
				continue // not ours, or under way
			}
			left = append(left, name+" uploaded in part")
			if !remove {
				continue
			}
			_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.bucket, Key: u.Key, UploadId: u.UploadId})
			if err = s.fail(ctx, "abort an upload of", name, err); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
	}
	slices.Sort(left)
	return left, nil
}

func (s *Store) key(ctx context.Context, op, name string) (string, error) {
	if err := store.CheckName(name); err != nil {
		return "", err
	}
	return s.prefix + name, s.ready(ctx, op, name)
}

// ready finds the credentials, which the SDK keeps, so that missing credentials have an error of their own.
func (s *Store) ready(ctx context.Context, op, name string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s %s in %s: %w", op, name, s, err)
	}
	if _, err := s.creds.Retrieve(ctx); err != nil {
		return s.noCredentials(ctx, op, name, err)
	}
	return nil
}

// source distinguishes errors of reading from errors of sending, and ends with the context.
type source struct {
	io.ReadSeeker
	ctx context.Context
	err error
}

func (s *source) Read(p []byte) (int, error) {
	if s.err = s.ctx.Err(); s.err != nil {
		return 0, s.err
	}
	n, err := s.ReadSeeker.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}
