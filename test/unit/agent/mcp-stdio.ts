/** A server on stdin and stdout, for tests to start and to kill. */
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { anyObject, mcpServer, text } from "./mcp-server.ts";

const server = mcpServer({
  tools: [
    { name: "pid", description: "Tells the process's id", inputSchema: anyObject },
    { name: "die", description: "Ends the process", inputSchema: anyObject },
  ],
  onCall: ({ name }) => {
    if (name === "die") process.kill(process.pid, "SIGKILL");
    return text(String(process.pid));
  },
});
await server.connect(new StdioServerTransport());
