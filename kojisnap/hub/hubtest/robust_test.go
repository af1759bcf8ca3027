package hubtest_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"kojisnap/kojisnap/hub/hubtest"
)

// Whatever a caller sends as an argument, a method answers or faults. It never panics otherwise.
func TestStrangeArguments(t *testing.T) {
	var log bytes.Buffer
	hub := hubtest.New(rows(t), hubtest.Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))})
	ask := func(body string) string {
		w := httptest.NewRecorder()
		hub.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/kojihub", strings.NewReader(body)))
		return w.Body.String()
	}
	strange := []string{
		"<nil/>", "<boolean>1</boolean>", "<int>-1</int>", "<int>2</int>", "<i8>99999999999</i8>", "<i8>99999999999999999999</i8>",
		"<double>1.5</double>", "<string></string>", "<string>f42</string>", "<string>a'b\\_%[(</string>", "<string>1-2-3.src</string>",
		"<array><data></data></array>", "<array><data><value><int>2</int></value><value><nil/></value></data></array>",
		"<array><data><value>id</value><value>=</value><value><nil/></value></data></array>",
		"<struct></struct>", "<struct><member><name>id</name><value><int>2</int></value></member></struct>",
		"<struct><member><name>id</name><value>x</value></member><member><name>order</name><value><int>1</int></value></member></struct>",
		"<base64>AAE=</base64>", "<dateTime.iso8601>20250101T00:00:00</dateTime.iso8601>",
	}
	tree, err := parseTree([]byte(ask(document("_listapi"))))
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, method := range tree.Child[0].Child[0].Child[0].Child[0].Child[0].Child {
		s := method.Child[0]
		name := s.member("name").Child[0].Text
		params, required := parameters(s)
		for _, param := range params {
			for _, v := range strange {
				pairs := []string{param, v}
				for _, r := range required {
					if r != param {
						pairs = append(pairs, r, "<string>f42</string>")
					}
				}
				got := ask(document(name, named(pairs...)))
				asked++
				if !strings.HasPrefix(got, "<?xml version='1.0'?>\n<methodResponse>\n") {
					t.Errorf("%s(%s=%s): %.200s", name, param, v, got)
				}
			}
		}
		for _, v := range strange {
			ask(document(name, v, v))
		}
	}
	for line := range strings.Lines(log.String()) {
		t.Errorf("%.1500s", line)
	}
	if asked < 5000 {
		t.Errorf("only %d calls", asked)
	}
}

// parameters are the names of a method's parameters, and of those that have no
// default, from its entry in _listapi.
func parameters(method *node) (all, required []string) {
	for _, arg := range method.member("args").Child[0].Child[0].Child {
		if pair := arg.Child[0]; pair.Name == "array" {
			all = append(all, pair.Child[0].Child[0].Child[0].Text)
			continue
		}
		all, required = append(all, arg.Child[0].Text), append(required, arg.Child[0].Text)
	}
	return all, required
}
