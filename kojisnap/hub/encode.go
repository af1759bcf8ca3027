package hub

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kolo/xmlrpc"
)

// encode checks a call and returns its request.
func (c *Client) encode(call Call) ([]byte, error) {
	params, err := call.params()
	if err != nil {
		return nil, err
	}
	body, err := encodeRequest(call.Method, params)
	if err == nil && len(body) > c.opts.MaxRequest {
		err = fmt.Errorf("%w: %d bytes, where hubs take %d", errTooLong, len(body), c.opts.MaxRequest)
	}
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", call, err)
	}
	return body, nil
}

// encodeMulti returns the request of a multicall, or errTooLong if it would have more
// than limit bytes. The caller has checked the calls.
func (c *Client) encodeMulti(calls []Call, limit int) ([]byte, error) {
	list := make([]any, len(calls))
	for i, call := range calls {
		params, err := call.params()
		if err != nil {
			return nil, err
		}
		list[i] = map[string]any{"methodName": call.Method, "params": params}
	}
	body, err := encodeRequest("multiCall", []any{list})
	if err == nil && len(body) > limit {
		err = fmt.Errorf("%w: %d calls in %d bytes, where hubs take %d", errTooLong, len(calls), len(body), limit)
	}
	return body, err
}

var errTooLong = errors.New("the request is too long")

// params returns the positional parameters that a call is sent with.
func (call Call) params() ([]any, error) {
	if err := checkRead(call); err != nil {
		return nil, err
	}
	params := slices.Clone(call.Args)
	if len(call.Kwargs) > 0 {
		named := maps.Clone(call.Kwargs)
		if _, ok := named["__starstar"]; ok {
			return nil, fmt.Errorf("encode %s: __starstar is no argument's name", call)
		}
		named["__starstar"] = true // koji.encode_args
		params = append(params, named)
	}
	if params == nil {
		params = []any{} // kolo leaves <params> out for nil
	}
	return params, nil
}

// encodeRequest encodes a methodCall with kolo/xmlrpc, whose encoder cannot do
// all that Koji needs: it writes nil as an empty <param> or <value/>, which a hub
// reads as nothing or ”, and integers of any size as <int>. It escapes no
// member names, and replaces characters that XML lacks. So this function encodes
// such values as base64, which no other value has and text cannot look like, and
// replaces that afterwards. It checks names and characters itself.
func encodeRequest(method string, params []any) ([]byte, error) {
	prepared := make([]any, len(params))
	for i, p := range params {
		var err error
		if prepared[i], err = prepare(p); err != nil {
			return nil, err
		}
	}
	body, err := xmlrpc.EncodeMethodCall(method, prepared...)
	if err != nil {
		return nil, err
	}
	const start, end = "<base64>", "</base64>"
	out := make([]byte, 0, len(body))
	for {
		before, after, found := bytes.Cut(body, []byte(start))
		out = append(out, before...)
		if !found {
			return out, nil
		}
		content, rest, _ := bytes.Cut(after, []byte(end))
		if string(content) == placeNil {
			out = append(out, "<nil/>"...)
		} else {
			out = fmt.Appendf(out, "<i8>%s</i8>", content)
		}
		body = rest
	}
}

const placeNil = "nil"

// prepare returns v in a form that kolo/xmlrpc's encoder can write.
func prepare(v any) (any, error) {
	switch v := v.(type) {
	case nil:
		return xmlrpc.Base64(placeNil), nil
	case bool:
		return v, nil
	case int:
		return prepareInt(int64(v)), nil
	case int32:
		return prepareInt(int64(v)), nil
	case int64:
		return prepareInt(v), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("the number %v has no XML-RPC form", v)
		}
		return v, nil
	case string:
		if !utf8.ValidString(v) || strings.ContainsFunc(v, func(r rune) bool { return !isChar(r) }) {
			return nil, fmt.Errorf("string %q holds what XML cannot", v)
		}
		return v, nil
	case []any:
		return prepareSlice(v)
	case []string:
		return prepareSlice(v)
	case []int:
		return prepareSlice(v)
	case []int64:
		return prepareSlice(v)
	case map[string]any:
		m := make(map[string]any, len(v))
		for name, e := range v {
			if strings.ContainsFunc(name, notInName) {
				return nil, fmt.Errorf("%q cannot be a name", name)
			}
			var err error
			if m[name], err = prepare(e); err != nil {
				return nil, err
			}
		}
		return m, nil
	}
	return nil, fmt.Errorf("a %T has no XML-RPC form", v)
}

func prepareSlice[T any](s []T) (any, error) {
	out := make([]any, len(s))
	for i, e := range s {
		var err error
		if out[i], err = prepare(e); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func prepareInt(n int64) any {
	if n != int64(int32(n)) {
		return xmlrpc.Base64(fmt.Sprint(n))
	}
	return n
}

func notInName(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune(`<>&"'`, r)
}

// String returns the call in Python's syntax, shortened, for messages.
func (call Call) String() string {
	var b strings.Builder
	b.WriteString(call.Method)
	b.WriteByte('(')
	sep := ""
	arg := func(name string, v any) {
		b.WriteString(sep)
		sep = ", "
		if b.Len() > 200 {
			return
		}
		b.WriteString(name)
		switch v := v.(type) {
		case nil:
			b.WriteString("None")
		case string:
			fmt.Fprintf(&b, "%q", v[:min(len(v), 100)])
		case []any, []string, []int, []int64, map[string]any:
			s := fmt.Sprintf("%q", v)
			b.WriteString(s[:min(len(s), 100)])
		default:
			fmt.Fprint(&b, v)
		}
	}
	for _, v := range call.Args {
		arg("", v)
	}
	for _, name := range slices.Sorted(maps.Keys(call.Kwargs)) {
		arg(name+"=", call.Kwargs[name])
	}
	s := b.String()
	if len(s) > 240 {
		s = s[:240] + "…"
	}
	return s + ")"
}
