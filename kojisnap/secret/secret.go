// Package secret finds the credentials in URLs, anywhere in a text.
//
// A credential is the text between :// and @ if it has a colon (user:password@, token:@,
// token:x-oauth-basic@, :password@), or if it looks like a token in a URL of http or https: GitHub, GitLab
// and others accept a token in the place of a user's name. A user's name alone, as in ssh://git@HOST/ or
// git+https://me@HOST/, is not a credential: it proves nothing.
package secret

import (
	"bytes"
	"strings"
)

// Mask replaces a password in output, as in package net/url.
const Mask = "xxxxx"

// Strip removes the credentials from the URLs in a text, with the user's name before a password: the rest
// is the URL for somebody without an account. It reports whether there were any; a text without
// credentials is returned unchanged.
func Strip(text []byte) (stripped []byte, found bool) {
	return replace(text, false, func([]byte) string { return "" })
}

// Blank puts others that are none of anybody's into the place of the credentials in a text: Strip makes of the result
// what it makes of the text, and, unless the text is very odd, finds something in it, too. A text without credentials is returned unchanged.
func Blank(text []byte) (blank []byte, found bool) {
	blank, found = replace(text, false, func(user []byte) string {
		if _, _, colon := cutColon(user); colon {
			return ":-@"
		}
		return "hf_@" // a token
	})
	if !found {
		return text, false
	}
	want, _ := Strip(text)
	if got, _ := Strip(blank); !bytes.Equal(got, want) {
		return want, true
	}
	return blank, true
}

// Hide masks the credentials in the URLs in a text for people. It leaves a user's name, unless that is
// the secret. It also finds mistyped URLs: https:/me:password@HOST.
func Hide(text string) string {
	if !strings.Contains(text, "@") {
		return text
	}
	hidden, _ := replace([]byte(text), true, func(user []byte) string {
		name, password, _ := cutColon(user)
		if len(name) == 0 || len(password) == 0 || string(password) == "x-oauth-basic" || isToken(name) {
			return Mask + "@"
		}
		return string(name) + ":" + Mask + "@"
	})
	return string(hidden)
}

// replace replaces each credential and its @. If a person typed the text, slashes may be missing.
func replace(text []byte, typed bool, with func(user []byte) string) (out []byte, found bool) {
	if bytes.IndexByte(text, '@') < 0 {
		return text, false
	}
	done := 0
	for at := 0; ; {
		scheme, start := nextURL(text, at, typed)
		if start < 0 {
			break
		}
		at = start
		n := userInfo(text[start:], typed, quoting(text[:start]))
		if n <= 0 || !isSecret(scheme, text[start:start+n], text[start+n+1:]) {
			continue
		}
		out = append(append(out, text[done:start]...), with(text[start:start+n])...)
		done, at, found = start+n+1, start+n+1, true
	}
	if !found {
		return text, false
	}
	return append(out, text[done:]...), true
}

// nextURL finds the next scheme from a place on, and where its authority begins; JSON may have its
// slashes behind a backslash.
func nextURL(text []byte, from int, typed bool) (scheme []byte, start int) {
	for i := from; ; i++ {
		n := bytes.IndexByte(text[i:], ':')
		if n < 0 {
			return nil, -1
		}
		i += n
		rest := text[i+1:]
		slashes, length := 0, 0
		for length < len(rest) && (rest[length] == '/' || rest[length] == '\\') {
			if rest[length] == '/' {
				slashes++
			}
			length++
			if slashes == 2 {
				break
			}
		}
		begin := i
		for begin > from && isScheme(text[begin-1]) {
			begin--
		}
		if begin < i && (slashes == 2 || typed && usual[strings.ToLower(string(text[begin:i]))]) {
			return text[begin:i], i + 1 + length
		}
	}
}

// usual are the schemes of URLs that users give to kojisnap.
var usual = map[string]bool{"http": true, "https": true, "s3": true, "ssh": true, "postgres": true, "postgresql": true}

func isScheme(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.'
}

// userInfo returns how many bytes stand before the @ of an authority, -1 if there is none. The last @
// counts. Text after a name and a colon that is not a port is a password, with any characters: in typed
// text also spaces, and quotes that are escaped. depth is that of the string which the URL is in.
func userInfo(s []byte, typed bool, depth int) int {
	at, end := -1, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c < ' ' || c == '"' || c == 0x7f || !typed && (c == ' ' || c == '<' || c == '>'):
			return at
		case c == '\\':
			n := i
			for n < len(s) && s[n] == '\\' {
				n++
			}
			switch {
			case n == len(s) || !typed && ends(depth, n-i, s[n]):
				return at
			case s[n] == '/' && !typed:
				if at >= 0 || isHost(s[:i]) {
					return at
				}
				end = true
				i = n
			case s[n] == '"':
				i = n
			default:
				i = n - 1 // the next character is an ordinary one, perhaps the @ itself
			}
		case c == '/' || c == '?' || c == '#' || c == ' ' || c == '<' || c == '>':
			if at >= 0 || isHost(s[:i]) {
				return at
			}
			end = true
		case c == '@':
			if at = i; end {
				return at
			}
		}
	}
	return at
}

// unquoted is the depth of text that is in no string.
const unquoted = -1

// quoting returns how deep the string is that goes on behind a text: how many backslashes stand before the quotes that
// begin and end it. That is none in JSON and in what Go writes for %q, one where such a text is a string in JSON itself, then three.
func quoting(before []byte) (depth int) {
	quote := bytes.LastIndexByte(before, '"')
	if quote < 0 {
		return unquoted
	}
	for depth < quote && before[quote-1-depth] == '\\' {
		depth++
	}
	return depth
}

// ends reports whether a character behind some backslashes ends a URL: as the end of the string that it is in, or as
// a control character. Else they stand for a character of a password, as a quote, a backslash or a letter of another alphabet.
func ends(depth, backslashes int, c byte) bool {
	if depth == unquoted {
		return false
	}
	escape := depth + 1 // so many backslashes are one of an escape; twice as many stand for a backslash
	backslashes %= 2 * escape
	if c == '"' {
		return backslashes == depth
	}
	return backslashes == escape && bytes.IndexByte([]byte("abfnrtv"), c) >= 0
}

// isHost reports whether s may be a host, with a port or without: not a name with a password.
func isHost(s []byte) bool {
	if len(s) > 0 && s[0] == '[' {
		return true
	}
	_, port, ok := cutColon(s)
	return !ok || len(bytes.Trim(bytes.TrimRight(port, ":,;.)'"), "0123456789")) == 0 // with what a sentence has after it
}

// cutColon cuts at the first colon, which may be written as %3A.
func cutColon(s []byte) (before, after []byte, ok bool) {
	for i := range s {
		if s[i] == ':' {
			return s[:i], s[i+1:], true
		}
		if s[i] == '%' && len(s) >= i+3 && s[i+1] == '3' && (s[i+2] == 'a' || s[i+2] == 'A') {
			return s[:i], s[i+3:], true
		}
	}
	return s, nil, false
}

func isSecret(scheme, user, host []byte) bool {
	_, password, colon := cutColon(user)
	switch {
	case colon && string(password) == Mask:
		return false // it is hidden already
	case colon: // but the name and tag of a container image, as docker://NAME:TAG@sha256:DIGEST
		return !bytes.HasPrefix(host, []byte("sha256:")) && !bytes.HasPrefix(host, []byte("sha512:"))
	}
	s := strings.ToLower(string(scheme))
	return (strings.HasSuffix(s, "http") || strings.HasSuffix(s, "https")) && isToken(user)
}

// isToken reports whether a user's name is more likely a token.
func isToken(name []byte) bool {
	for _, begin := range []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "gldt-", "hf_", "npm_", "pypi-"} {
		if bytes.HasPrefix(name, []byte(begin)) {
			return true
		}
	}
	return len(name) >= 20 && bytes.ContainsAny(name, "0123456789")
}
