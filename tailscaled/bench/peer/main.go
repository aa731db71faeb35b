// The bench's peer: what an expert writes by hand, a Lambda handler with tsnet in its own process and one http.Transport.
// It forwards what the proxy forwards, by the same ts-target headers; no guard, no repair after a freeze, no metrics.
// With BENCH_EMPTY it forwards nothing: what is left is the cost of a request to Lambda's host and runtime.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"unicode/utf8"

	"tailscale.com/ipn/store/mem"
	"tailscale.com/tsnet"
)

type event struct {
	RawPath         string            `json:"rawPath"`
	RawQueryString  string            `json:"rawQueryString"`
	Headers         map[string]string `json:"headers"`
	Body            string            `json:"body"`
	IsBase64Encoded bool              `json:"isBase64Encoded"`
	RequestContext  struct {
		HTTP struct {
			Method string `json:"method"`
		} `json:"http"`
	} `json:"requestContext"`
}

type response struct {
	StatusCode      int               `json:"statusCode"`
	Headers         map[string]string `json:"headers"`
	Body            string            `json:"body,omitempty"`
	IsBase64Encoded bool              `json:"isBase64Encoded,omitempty"`
}

// What the Function URL and its signature added: not the target's.
var private = []string{"Authorization", "Host", "X-Amz-Date", "X-Amz-Content-Sha256", "X-Amz-Security-Token", "X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Proto"}

func forward(client *http.Transport, e *event) (*http.Response, error) {
	body := []byte(e.Body)
	if e.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(e.Body); err != nil {
			return nil, err
		}
	}
	scheme, port := "http", e.Headers["ts-target-port"]
	if e.Headers["ts-https"] == "true" {
		scheme = "https"
	}
	url := scheme + "://" + e.Headers["ts-target-ip"] + ":" + port + e.RawPath + "?" + e.RawQueryString
	request, err := http.NewRequest(e.RequestContext.HTTP.Method, strings.TrimSuffix(url, "?"), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, value := range e.Headers {
		if !strings.HasPrefix(name, "ts-") && !strings.HasPrefix(name, "x-amzn-") {
			request.Header.Set(name, value)
		}
	}
	for _, name := range private {
		request.Header.Del(name)
	}
	return client.RoundTrip(request)
}

func main() {
	api := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/"
	_, empty := os.LookupEnv("BENCH_EMPTY")
	client := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	if !empty {
		server := &tsnet.Server{
			Hostname: "go-peer", Dir: "/tmp/tsnet", Store: new(mem.Store), Ephemeral: true, Logf: func(string, ...any) {},
			UserLogf: func(string, ...any) {}, AuthKey: os.Getenv("TS_AUTHKEY"), ControlURL: os.Getenv("TS_CONTROL_URL"),
		}
		if _, err := server.Up(context.Background()); err != nil {
			log.Fatal(err)
		}
		client.DialContext = server.Dial
	}
	for {
		next, err := http.Get(api + "next")
		if err != nil {
			log.Fatal(err)
		}
		id := next.Header.Get("Lambda-Runtime-Aws-Request-Id")
		var e event
		err = json.NewDecoder(next.Body).Decode(&e)
		next.Body.Close()
		if err != nil {
			log.Fatal(err)
		}
		answer := &http.Response{StatusCode: 200, Body: http.NoBody}
		if !empty {
			if answer, err = forward(client, &e); err != nil {
				log.Print(err)
				answer = &http.Response{StatusCode: 502, Body: io.NopCloser(strings.NewReader(err.Error()))}
			}
		}
		post(api+id+"/response", answer)
	}
}

// post hands the target's response to Lambda: whole, or as it comes where BENCH_STREAM is set.
func post(url string, answer *http.Response) {
	head := response{StatusCode: answer.StatusCode, Headers: map[string]string{}}
	for name, values := range answer.Header {
		head.Headers[name] = strings.Join(values, ", ")
	}
	var body io.Reader
	_, stream := os.LookupEnv("BENCH_STREAM")
	if stream {
		prelude, _ := json.Marshal(head)
		body = io.MultiReader(bytes.NewReader(append(prelude, make([]byte, 8)...)), answer.Body)
	} else {
		content, err := io.ReadAll(answer.Body)
		if err != nil {
			head.StatusCode, content = 502, []byte(err.Error())
		}
		if head.IsBase64Encoded = !utf8.Valid(content); head.IsBase64Encoded {
			head.Body = base64.StdEncoding.EncodeToString(content)
		} else {
			head.Body = string(content)
		}
		whole, _ := json.Marshal(head)
		body = bytes.NewReader(whole)
	}
	request, err := http.NewRequest("POST", url, body)
	if err != nil {
		log.Fatal(err)
	}
	if stream {
		request.Header.Set("Lambda-Runtime-Function-Response-Mode", "streaming")
		request.Header.Set("Content-Type", "application/vnd.awslambda.http-integration-response")
	}
	posted, err := http.DefaultClient.Do(request)
	answer.Body.Close()
	if err != nil {
		log.Fatal(err)
	}
	io.Copy(io.Discard, posted.Body)
	posted.Body.Close()
}
