export { createOperationsApp, type Health, type OperationsOptions, prometheusContentType } from "./operations.ts";
