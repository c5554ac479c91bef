from client import KVClient

with KVClient() as client:
    # Store user data
    client.put('user:alice', 'Alice Smith')
    client.put('user:bob', 'Bob Jones')
    
    # Retrieve data
    print(client.get('user:alice'))  # Alice Smith
