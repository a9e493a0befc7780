// Traefik started as ingress-nginx: it takes the arguments that ingress-nginx's chart gives to its controller, starts
// Traefik with its provider for ingress-nginx's annotations, and answers /healthz and /metrics where the chart's probes
// and its ServiceMonitor ask. Arguments without a meaning for Traefik are ignored. Its admission webhook admits everything:
// what ingress-nginx refuses there is what NGINX cannot be configured with.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	healthPort = "10254" // of ingress-nginx: health and metrics
	inside     = "127.0.0.1:10253"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	go serveHealth()
	if address := flag(os.Args[1:], "validating-webhook", ""); address != "" {
		go serveAdmission(address, flag(os.Args[1:], "validating-webhook-certificate", ""), flag(os.Args[1:], "validating-webhook-key", ""))
	}
	traefik := exec.CommandContext(ctx, filepath.Join(filepath.Dir(os.Args[0]), "traefik"), arguments(os.Args[1:])...)
	traefik.Stdout, traefik.Stderr = os.Stdout, os.Stderr
	// Running requests are finished first.
	traefik.Cancel = func() error { return traefik.Process.Signal(syscall.SIGTERM) }
	if err := traefik.Run(); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "traefik:", err)
		os.Exit(1)
	}
}

// arguments are Traefik's for those of ingress-nginx.
func arguments(given []string) []string {
	const provider = "--providers.kubernetesingressnginx"
	result := []string{
		"--entrypoints.http.address=:" + flag(given, "http-port", "80"),
		"--entrypoints.https.address=:" + flag(given, "https-port", "443"),
		"--entrypoints.traefik.address=" + inside,
		"--ping=true", "--ping.entrypoint=traefik",
		"--metrics.prometheus=true", "--metrics.prometheus.entrypoint=traefik",
		"--global.checknewversion=false", "--global.sendanonymoususage=false",
		provider + "=true",
		provider + ".httpentrypoint=http", provider + ".httpsentrypoint=https",
		provider + ".controllerclass=" + flag(given, "controller-class", "k8s.io/ingress-nginx"),
		provider + ".ingressclass=" + flag(given, "ingress-class", "nginx"),
		provider + ".watchingresswithoutclass=" + flag(given, "watch-ingress-without-class", "false"),
	}
	if service := flag(given, "publish-service", ""); service != "" {
		result = append(result, provider+".publishservice="+service)
	}
	return result
}

// flag is the value of --name=value, or the default.
func flag(given []string, name, otherwise string) string {
	for _, argument := range given {
		if value, found := strings.CutPrefix(strings.TrimLeft(argument, "-"), name+"="); found {
			return value
		}
	}
	return otherwise
}

// serveAdmission admits every object that the API server asks about.
func serveAdmission(address, certificate, key string) {
	admit := func(w http.ResponseWriter, r *http.Request) {
		var review struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Request    struct {
				UID string `json:"uid"`
			} `json:"request"`
		}
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"apiVersion": review.APIVersion, "kind": review.Kind,
			"response": map[string]any{"uid": review.Request.UID, "allowed": true},
		})
	}
	if err := http.ListenAndServeTLS(address, certificate, key, http.HandlerFunc(admit)); err != nil {
		fmt.Fprintln(os.Stderr, "admission:", err)
		os.Exit(1)
	}
}

// serveHealth passes ingress-nginx's paths on to Traefik's.
func serveHealth() {
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: inside})
	handler := http.NewServeMux()
	handler.Handle("/metrics", proxy)
	handler.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = "/ping"
		proxy.ServeHTTP(w, r)
	})
	if err := http.ListenAndServe(":"+healthPort, handler); err != nil {
		fmt.Fprintln(os.Stderr, "health:", err)
		os.Exit(1)
	}
}
