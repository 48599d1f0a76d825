// Command clients is the client of the Go SDK: it plays the steps of a file
// against a server and prints what it got. Usage: clients REVISION STEPS SERVER
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// step is one call of a tool, and what of its result later steps need.
type step struct {
	Tool string            `json:"tool"`
	Args json.RawMessage   `json:"args"`
	Keep map[string]string `json:"keep"`
}

// result is what came of a step.
type result struct {
	Tool  string `json:"tool"`
	Error bool   `json:"error"`
	Value any    `json:"value"`
}

func main() {
	log.SetFlags(0)
	revision, server := os.Args[1], os.Args[3]
	text, err := os.ReadFile(os.Args[2])
	check(err)
	var steps []step
	check(json.Unmarshal(text, &steps))
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	client := mcp.NewClient(&mcp.Implementation{Name: "go-sdk", Version: "1"}, nil)
	session, err := client.Connect(ctx, &mcp.CommandTransport{Command: exec.Command(server)},
		&mcp.ClientSessionOptions{ProtocolVersion: revision})
	check(err)
	got := map[string]any{"tools": listTools(ctx, session), "results": play(ctx, session, steps),
		"resources": readAll(ctx, session)}
	check(session.Close())
	check(json.NewEncoder(os.Stdout).Encode(got))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func listTools(ctx context.Context, s *mcp.ClientSession) (names []string) {
	for tool, err := range s.Tools(ctx, nil) {
		check(err)
		names = append(names, tool.Name)
	}
	return names
}

// play makes the calls. What has no structured content has it as text.
func play(ctx context.Context, s *mcp.ClientSession, steps []step) (results []result) {
	kept := []string{}
	for _, one := range steps {
		args := strings.NewReplacer(kept...).Replace(string(one.Args))
		answer, err := s.CallTool(ctx, &mcp.CallToolParams{Name: one.Tool, Arguments: json.RawMessage(args)})
		if err != nil {
			results = append(results, result{one.Tool, true, err.Error()})
			continue
		}
		value := answer.StructuredContent
		if text, ok := answer.Content[0].(*mcp.TextContent); ok && value == nil {
			if json.Unmarshal([]byte(text.Text), &value) != nil {
				value = text.Text
			}
		}
		results = append(results, result{one.Tool, answer.IsError, value})
		for name, member := range one.Keep {
			if object, ok := value.(map[string]any); ok {
				kept = append(kept, "$"+name, object[member].(string))
			}
		}
	}
	return results
}

func readAll(ctx context.Context, s *mcp.ClientSession) map[string]string {
	read := map[string]string{}
	for resource, err := range s.Resources(ctx, nil) {
		check(err)
		answer, err := s.ReadResource(ctx, &mcp.ReadResourceParams{URI: resource.URI})
		check(err)
		read[resource.URI] = answer.Contents[0].Text
	}
	for _, err := range s.ResourceTemplates(ctx, nil) {
		check(err)
	}
	return read
}
