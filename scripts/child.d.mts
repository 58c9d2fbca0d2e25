export declare function become(command: string, args: string[], env: NodeJS.ProcessEnv): void;
