// Command readers READER FILE... prints a line of JSON for each file, with the
// variables that a Go library gave, in base64. It is a module of its own:
// keepmum depends on none of these.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	compose "github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/docker/cli/pkg/kvfile"
	"github.com/joho/godotenv"
	"github.com/spf13/viper"
	"github.com/subosito/gotenv"
)

var readers = map[string]func(file string) (map[string]string, error){
	"godotenv": func(file string) (map[string]string, error) { return godotenv.Read(file) },
	"gotenv":   func(file string) (map[string]string, error) { return gotenv.Read(file) },
	"viper":    readViper,
	"compose": func(file string) (map[string]string, error) {
		return compose.ReadWithLookup(os.LookupEnv, file)
	},
	"docker": readDocker,
}

func readViper(file string) (map[string]string, error) {
	v := viper.New()
	v.SetConfigFile(file)
	v.SetConfigType("dotenv")
	vars := map[string]string{}
	err := v.ReadInConfig()
	for _, name := range v.AllKeys() {
		vars[strings.ToUpper(name)] = v.GetString(name)
	}
	return vars, err
}

// readDocker reads as "docker run --env-file" does.
func readDocker(file string) (map[string]string, error) {
	lines, err := kvfile.Parse(file, os.LookupEnv)
	vars := map[string]string{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, "=")
		vars[name] = value
	}
	return vars, err
}

type result struct {
	File  string            `json:"file"`
	Vars  map[string][]byte `json:"vars,omitempty"`
	Error string            `json:"error,omitempty"`
}

func read(name, file string) (r result) {
	r = result{File: file, Vars: map[string][]byte{}}
	defer func() {
		if p := recover(); p != nil {
			r.Error = fmt.Sprint(p)
		}
	}()
	vars, err := readers[name](file)
	if err != nil {
		r.Error = err.Error()
	}
	for name, value := range vars {
		r.Vars[name] = []byte(value)
	}
	return r
}

func main() {
	out := json.NewEncoder(os.Stdout)
	for _, file := range os.Args[2:] {
		if err := out.Encode(read(os.Args[1], file)); err != nil {
			os.Exit(1)
		}
	}
}
