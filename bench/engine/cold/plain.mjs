const add = async ({ count }) => ({ count: count + 1 });
let state = { count: 0 };
state = { ...state, ...(await add(state)) };
state = { ...state, ...(await add(state)) };
console.log(state.count);
