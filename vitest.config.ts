import { defineConfig } from "vitest/config";

// Tests that start processes and measure time run one file after the other, and after all the others.
const processes = [
  "test/runtime/**/*.test.ts",
  "test/cluster/**/*.test.ts",
  "test/package/**/*.test.ts",
  "examples/*/test/main.test.ts",
];

// biome-ignore lint/style/noDefaultExport: vitest reads its configuration from the default export
export default defineConfig({
  test: {
    globalSetup: ["test/support/global-setup.ts"],
    setupFiles: ["test/support/setup.ts"],
    pool: "forks",
    projects: [
      {
        extends: true,
        test: {
          name: "plain",
          include: ["test/**/*.test.ts", "examples/*/test/**/*.test.ts"],
          exclude: processes,
          testTimeout: 30_000,
          hookTimeout: 30_000,
          maxWorkers: "100%",
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: "processes",
          include: processes,
          testTimeout: 120_000,
          hookTimeout: 60_000,
          maxWorkers: 1,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
