// Package source reads production's files: from directories, by http and https, and from objects such as
// those of S3. It asks several sources in turn, until one gives the file with the right content.
//
// # Servers
//
// A download that breaks off continues at that point (Range, If-Range). If the file has changed, it starts
// again, once. After 429, 5xx and network errors it waits and repeats the request, up to four requests in
// all, and as long as Retry-After is at most two minutes. A server that fails for three files in a row is not
// asked again in this run. Redirects are followed only on the same server, and there from http to https. A
// bad certificate is reported once, without another try.
//
// What Options.Open opens, such as a bucket of S3, repeats and resumes by itself. There, too, three failed
// files in a row end it, and so does an error that holds for all files: no such bucket, wrong credentials.
//
// If a server denies a file (403), the file counts as missing: S3 and CloudFront answer so about missing
// files if the client may not list the bucket. Only if all sources deny it, and none of them gave any other
// file in this run, the sources are at fault.
package source
