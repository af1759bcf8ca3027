package secret

import (
	"regexp"
	"strings"
)

// HideText masks for people what Hide masks, and also passwords in the other forms that settings and commands have:
// as keywords of libpq (password=…, sslpassword=…), as parameters of a URL, and as a header or an option of a command
// (Authorization: Bearer …, token=…).
func HideText(text string) string {
	value := keyword
	if strings.Contains(text, "://") {
		value = parameter
	}
	text = value.ReplaceAllString(text, "${1}"+Mask)
	text = header.ReplaceAllString(text, "${1}"+Mask)
	return Hide(text)
}

// assigned matches the name of a secret and what is between it and its value.
const assigned = `(?i)(\b(?:(?:ssl)?(?:password|passwd|passphrase)|[a-z_-]*(?:token|secret|api[_-]?key|access[_-]key))\s*[=:]\s*)`

// quoted matches a value in quotes, also if the last one is missing.
const quoted = `'(?:[^'\\]|\\.)*'?|"(?:[^"\\]|\\.)*"?`

var (
	keyword   = regexp.MustCompile(assigned + `(?:` + quoted + `|(?:\\.|[^\s'"\\])+)`)
	parameter = regexp.MustCompile(assigned + `(?:` + quoted + `|[^\s&;'"]+)`)
	header    = regexp.MustCompile(`(?i)(\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}`)
)
