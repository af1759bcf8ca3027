package secret_test

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"kojisnap/kojisnap/secret"
)

func TestStripAndHide(t *testing.T) {
	const token = "ghp_abcdefghijklmnopqrstuvwxyz0123456789"
	for text, want := range map[string]struct{ stripped, hidden string }{
		// Credentials.
		"https://me:pass@example.org/repo/":               {"https://example.org/repo/", "https://me:xxxxx@example.org/repo/"},
		"git+https://me:p@ss@example.org/x#abc":           {"git+https://example.org/x#abc", "git+https://me:xxxxx@example.org/x#abc"},
		"https://" + token + "@github.com/x.git":          {"https://github.com/x.git", "https://xxxxx@github.com/x.git"},
		"https://" + token + ":@github.com/x.git":         {"https://github.com/x.git", "https://xxxxx@github.com/x.git"},
		"https://t:x-oauth-basic@github.com/x.git":        {"https://github.com/x.git", "https://xxxxx@github.com/x.git"},
		"https://:pass@example.org":                       {"https://example.org", "https://xxxxx@example.org"},
		"HTTPS://me%3Apass@example.org":                   {"HTTPS://example.org", "HTTPS://me:xxxxx@example.org"},
		"ssh://git:pass@example.org:22/x":                 {"ssh://example.org:22/x", "ssh://git:xxxxx@example.org:22/x"},
		"s3://KEY:secret@bucket/p?endpoint=http://a:b@h/": {"s3://bucket/p?endpoint=http://h/", "s3://KEY:xxxxx@bucket/p?endpoint=http://a:xxxxx@h/"},
		"https://me:p/w@example.org/x":                    {"https://example.org/x", "https://me:xxxxx@example.org/x"},
		"https://me:p#?w@[::1]:80/x":                      {"https://[::1]:80/x", "https://me:xxxxx@[::1]:80/x"},
		`{"a": "https://a:b@h/", "b": ["http://c:d@i"]}`:  {`{"a": "https://h/", "b": ["http://i"]}`, `{"a": "https://a:xxxxx@h/", "b": ["http://c:xxxxx@i"]}`},
		`"https:\/\/a:b@h\/"`:                             {`"https:\/\/h\/"`, `"https:\/\/a:xxxxx@h\/"`},
		`"https://a:p\u00e4ss@h/"`:                        {`"https://h/"`, `"https://a:xxxxx@h/"`},
		`https://a:p\\u00e4ss@h/`:                         {`https://h/`, `https://a:xxxxx@h/`},
		"see http://a:b@h and http://c:d@i, too":          {"see http://h and http://i, too", "see http://a:xxxxx@h and http://c:xxxxx@i, too"},
		`"https://a:pass\\@h/"`:                           {`"https://h/"`, `"https://a:xxxxx@h/"`},
		`"https://a:pass\"@h/"`:                           {`"https://h/"`, `"https://a:xxxxx@h/"`},
		`{"log": "got \"https://a:pass\\\\@h/\""}`:        {`{"log": "got \"https://h/\""}`, `{"log": "got \"https://a:xxxxx@h/\""}`},
		`https://a:p\ass\@h/`:                             {`https://h/`, `https://a:xxxxx@h/`},
		// None.
		"https://example.org/a:b@c":                         {},
		"https://example.org:8080/a@b":                      {},
		"https://[::1]:8080/a@b":                            {},
		"git+ssh://git@example.org/x":                       {},
		"git+https://me@example.org/x#0123456789abcdef":     {},
		"ssh://a-robot-with-a-very-long-name-2@example.org": {},
		"docker://fedora:latest@sha256:0123":                {},
		"docker://registry:5000/fedora:latest@sha256:0123":  {},
		"https://me:xxxxx@example.org":                      {},
		`"https://h\nmail: a:b@c"`:                          {},
		`{"a": "docker://fedora:latest\\", "b": "me@h"}`:    {},
		`{"a": "docker://fedora:latest", "b": "me@h"}`:      {},
		"hub https://h:80: sent by me@h":                    {},
		"at http://h:80, says me@h":                         {},
		"hub https://h: sent by me@h":                       {},
		"mail me@example.org: https://example.org":          {},
		"a://b://c@": {},
		"":           {},
		"://a:b@c":   {},
		// None, but of a typed text too much is hidden rather than too little.
		`"docker://fedora:latest\nme@h"`:                    {`"docker://fedora:latest\nme@h"`, `"docker://fedora:xxxxx@h"`},
		`"{\"a\": \"docker://fedora:latest\\nme@h\"}"`:      {`"{\"a\": \"docker://fedora:latest\\nme@h\"}"`, `"{\"a\": \"docker://fedora:xxxxx@h\"}"`},
		`"{\"a\": \"docker://f:latest\", \"b\": \"me@h\"}"`: {`"{\"a\": \"docker://f:latest\", \"b\": \"me@h\"}"`, `"{\"a\": \"docker://f:xxxxx@h\"}"`},
		`docker://fedora:latest\ me@h`:                      {`docker://fedora:latest\ me@h`, `docker://fedora:xxxxx@h`},
		// What is typed wrong.
		"https:/me:pass@example.org/x":   {"https:/me:pass@example.org/x", "https:/me:xxxxx@example.org/x"},
		`store "https://me:p\"w@h/": no`: {`store "https://h/": no`, `store "https://me:xxxxx@h/": no`},
		"https://me:p w@h/":              {"https://me:p w@h/", "https://me:xxxxx@h/"},
		"s3:KEY:secret@bucket":           {"s3:KEY:secret@bucket", "s3:KEY:xxxxx@bucket"},
		"rate s3:12 me@example.org":      {},
	} {
		if want.stripped == "" {
			want.stripped, want.hidden = text, text
		}
		blank, blanked := secret.Blank([]byte(text))
		if after, again := secret.Strip(blank); string(after) != want.stripped || blanked != (want.stripped != text) || again != blanked {
			t.Errorf("%q blanked is %q, %v, and then stripped %q, %v; want %q", text, blank, blanked, after, again, want.stripped)
		}
		if blanked && (strings.Contains(string(blank), "pass@") || strings.Contains(string(blank), token)) {
			t.Errorf("%q blanked still is %q", text, blank)
		}
		got, found := secret.Strip([]byte(text))
		if string(got) != want.stripped || found != (want.stripped != text) {
			t.Errorf("%q stripped is %q, %v; want %q", text, got, found, want.stripped)
		}
		if got := secret.Hide(text); got != want.hidden {
			t.Errorf("%q hidden is %q, want %q", text, got, want.hidden)
		}
		if again, found := secret.Strip(got); found {
			t.Errorf("%q stripped twice is %q", text, again)
		}
		if hidden := secret.Hide(text); secret.Hide(hidden) != hidden {
			t.Errorf("%q hidden twice is %q", text, secret.Hide(hidden))
		}
	}
}

// TestAnyPassword: a password with whatever character at whatever place goes, in however many strings of JSON, or of
// Go's, its URL is.
func TestAnyPassword(t *testing.T) {
	const canary = "canary"
	inJSON := func(text string) string { return marshal(t, text, true) }
	quotings := map[string]func(string) string{
		"plain": func(text string) string { return text }, "JSON": inJSON, "JSON without HTML": func(text string) string { return marshal(t, text, false) },
		"%q": strconv.Quote, "%+q": strconv.QuoteToASCII,
		"JSON in JSON": func(text string) string { return inJSON(inJSON(text)) }, "JSON in JSON in JSON": func(text string) string { return inJSON(inJSON(inJSON(text))) },
		"%q of JSON":    func(text string) string { return strconv.Quote(inJSON(text)) },
		"JSON with \\/": func(text string) string { return strings.ReplaceAll(inJSON(text), "/", `\/`) },
		"an object":     func(text string) string { return `{"n": 1, "url": ` + inJSON(text) + `, "mail": "a:b@example.com"}` },
	}
	characters := []string{`\`, `\\`, `\"`, "/", ":", "@", "%", "&", "'", "=", "?", "#", "ä", "€", "🔑", "\\n", "\\u0041", "\u2028"}
	for c := '!'; c <= '~'; c++ {
		if c != '<' && c != '>' && c != '"' { // those end a URL in a text, unless they are escaped
			characters = append(characters, string(c))
		}
	}
	for _, c := range characters {
		for _, password := range []string{canary + c, c + canary, "x" + c + canary + c + "y", canary + c + c} {
			for name, quote := range quotings {
				users := []string{url.UserPassword("me", password).String(), url.QueryEscape("me:" + password)}
				if !strings.ContainsAny(password[:1], "/?#") { // else HOST:/PATH is meant, with a port that is empty
					users = append(users, "me:"+password)
				}
				for _, user := range users {
					text := quote("https://" + user + "@example.org/x/")
					got, found := secret.Strip([]byte(text))
					if want := quote("https://example.org/x/"); name != "an object" && string(got) != want || !found || strings.Contains(string(got), canary) {
						t.Errorf("%s: %s stripped is %s, want %s", name, text, got, want)
					}
					blank, found := secret.Blank([]byte(text))
					if after, again := secret.Strip(blank); !found || !again || string(after) != string(got) || strings.Contains(string(blank), canary) {
						t.Errorf("%s: %s blanked is %s", name, text, blank)
					}
				}
			}
		}
	}
}

// marshal writes a text as JSON, with or without escapes for HTML.
func marshal(t *testing.T, text string, html bool) string {
	t.Helper()
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(html)
	if err := e.Encode(text); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
