package s3_test

import (
	"os"
	"strings"
	"testing"

	"kojisnap/kojisnap/store/s3"
)

func TestOpenURL(t *testing.T) {
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	for _, test := range []struct{ url, want string }{ // want: String, or after "error: " a part of the error
		{"s3://bucket", "s3://bucket"},
		{"s3://bucket/", "s3://bucket"},
		{"s3://bucket/a/b", "s3://bucket/a/b"},
		{"s3://bucket/a/b/", "s3://bucket/a/b"},
		{"s3://my.bucket-1/koji%20stg", "s3://my.bucket-1/koji stg"},
		{"s3://bucket/p?endpoint=https://s3.example.com:9000&region=eu-1&path-style=false", "s3://bucket/p"},
		{"", "error: want s3://BUCKET/PREFIX"},
		{"s3:/bucket/p", "error: want s3://BUCKET/PREFIX"},
		{"s3://", "error: want s3://BUCKET/PREFIX"},
		{"s3://b", "error: want s3://BUCKET/PREFIX"},
		{"s3://bu%2fcket/p", "error: not a URL such as"},
		{"http://bucket/p", "error: want s3://BUCKET/PREFIX"},
		{"s3://bucket/p#f", "error: want s3://BUCKET/PREFIX"},
		{"s3://bucket:9000/p", "error: want s3://BUCKET/PREFIX"},
		{"s3://bucket/../other", "error: cannot be the prefix"},
		{"s3://bucket/a//b", "error: cannot be the prefix"},
		{"s3://bucket/a%00b", "error: cannot be the prefix"},
		{"s3://bucket/a%0ab", "error: cannot be the prefix"},
		{"s3://bucket/" + strings.Repeat("x", 501), "error: cannot be the prefix"},
		{"s3://AKIASECRET:password@bucket/p", "error: no credentials in the URL"},
		{"s3://AKIASECRET:pass%zzword@bucket/p", "error: not a URL such as"},
		{"s3://bucket/p?secret=password", `error: no option "secret"`},
		{"s3://bucket/p?path-style=perhaps", "error: path-style is true or false"},
		{"s3://bucket/p?endpoint=s3.example.com", "error: the endpoint is not a URL"},
		{"s3://bucket/p?endpoint=https://me:password@s3.example.com", "error: the endpoint is not a URL"},
		{"s3://bucket/p?endpoint=file:///etc", "error: the endpoint is not a URL"},
	} {
		s, err := s3.Open(t.Context(), test.url, s3.Options{})
		if part, bad := strings.CutPrefix(test.want, "error: "); bad {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%q: %v, want %q", test.url, err, part)
			} else if strings.Contains(err.Error(), "password") || strings.Contains(err.Error(), "AKIA") || strings.ContainsAny(err.Error(), "\n\x00") {
				t.Errorf("%q: the error tells a secret or is no line: %q", test.url, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", test.url, err)
		} else if s.String() != test.want {
			t.Errorf("%q: String is %q, want %q", test.url, s, test.want)
		}
	}
}

func TestOpenUnknownProfile(t *testing.T) {
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	t.Setenv("AWS_PROFILE", "nobody-has-this")
	if _, err := s3.Open(t.Context(), "s3://bucket/p", s3.Options{}); err == nil || !strings.Contains(err.Error(), "nobody-has-this") {
		t.Errorf("a profile that is not there: %v", err)
	}
}
