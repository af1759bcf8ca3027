package main

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/kojiprod"
	"kojisnap/kojisnap/store/s3/s3test"
)

// TestStrictStore: a store that refuses If-None-Match and the SDK's checksums takes snapshots.
func TestStrictStore(t *testing.T) {
	rows, err := hubtest.Rows(kojiprod.Rows())
	if err != nil {
		t.Fatal(err)
	}
	hub := httptest.NewServer(hubtest.New(rows, hubtest.Options{}))
	defer hub.Close()
	srv := s3test.Start(t)
	if srv.Endpoint == "" {
		t.Skip("KOJISNAP_TEST_S3 is given: nothing can be put before its server")
	}
	target, err := url.Parse(srv.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	through := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // it is signed
	}}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") != "" || r.Header.Get("X-Amz-Checksum-Crc32") != "" || r.Header.Get("X-Amz-Trailer") != "" {
			http.Error(w, "<Error><Code>NotImplemented</Code><Message>A header you provided is not implemented</Message></Error>", http.StatusNotImplemented)
			return
		}
		through.ServeHTTP(w, r)
	}))
	defer front.Close()
	store := srv.URL(t) + "?endpoint=" + front.URL
	var ids []string
	for _, event := range []string{"400", "419"} {
		out := kojisnapOK(t, "pull", "--hub", hub.URL+"/kojihub", "--tag", "f42-compose", "--event", event, "--store", store)
		ids = append(ids, strings.TrimSpace(out))
	}
	list := kojisnapOK(t, "snapshots", "--store", store)
	for _, id := range ids {
		if !strings.Contains(list, id) {
			t.Errorf("%s is not in %q", id, list)
		}
	}
}
