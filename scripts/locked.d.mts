export declare function installLocked(folder: string, what: string): boolean;
export declare function isInstalled(folder: string): boolean;
export declare function npmCommand(): [string, ...string[]];
