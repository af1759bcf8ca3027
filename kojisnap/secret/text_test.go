package secret

import (
	"strings"
	"testing"
)

// TestHideText: passwords are masked in the forms of settings and commands; what is around them stays, and what is no
// password stays.
func TestHideText(t *testing.T) {
	for text, want := range map[string]string{
		"host=db password=s3cr3t dbname=koji":                    "host=db password=xxxxx dbname=koji",
		"host=db password = 's3 \\'cr3t' dbname=koji":            "host=db password = xxxxx dbname=koji",
		"password='s3cr3t":                                       "password=xxxxx",
		`password=s3\ cr3t&x user=u`:                             "password=xxxxx user=u",
		"dbname=koji sslpassword=s3cr3t":                         "dbname=koji sslpassword=xxxxx",
		"postgres://me:s3cr3t@db/koji":                           "postgres://me:xxxxx@db/koji",
		"postgres://db/koji?user=me&password=s3cr3t&sslmode=a":   "postgres://db/koji?user=me&password=xxxxx&sslmode=a",
		"curl -H 'Authorization: Bearer s3cr3ts3cr3t' https://h": "curl -H 'Authorization: Bearer xxxxx' https://h",
		"TOKEN=s3cr3t notify --api-key=s3cr3t --to me":           "TOKEN=xxxxx notify --api-key=xxxxx --to me",
		"curl https://h/?access_token=s3cr3t&x=1":                "curl https://h/?access_token=xxxxx&x=1",
		"password=\"s3 cr3t\" x":                                 "password=xxxxx x",
		"host=db passfile=/etc/pass":                             "host=db passfile=/etc/pass",
		"f42-token":                                              "f42-token",
		"basic auth":                                             "basic auth",
		"https://koji.example.com/kojihub":                       "https://koji.example.com/kojihub",
		"":                                                       "",
	} {
		got := HideText(text)
		if got != want || strings.Contains(got, "s3") || strings.Contains(got, "cr3t") {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
